"""The version, the documentation's address, and the User-Agent header that clinder sends."""

from __future__ import annotations

__version__ = "1.0.0"
DOCUMENTATION = "https://org.github.io/clinder-action/"
USER_AGENT = f"clinder/{__version__} (+https://github.com/org/clinder-action)"
"""It contains no word, such as "bot", for which newer hubs refuse a client (binderhub#2107)."""
