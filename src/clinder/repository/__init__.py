"""What to launch: read from text, written as a spec."""

from clinder._urls import hub_url
from clinder.repository.parse import Target, target
from clinder.repository.providers import FORMS
from clinder.repository.repository import Repository

__all__ = ["FORMS", "Repository", "Target", "hub_url", "target"]
