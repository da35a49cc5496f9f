"""What to launch: read from text, written as a spec."""

from clinder.repository.repository import FORMS, Repository, Target, hub_url, target

__all__ = ["FORMS", "Repository", "Target", "hub_url", "target"]
