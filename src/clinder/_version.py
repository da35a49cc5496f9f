"""The version, and how clinder introduces itself to servers."""

from __future__ import annotations

__version__ = "1.0.0"
USER_AGENT = f"clinder/{__version__} (+https://github.com/org/clinder-action)"
"""Honest, and without the words that newer hubs refuse (binderhub#2107)."""
