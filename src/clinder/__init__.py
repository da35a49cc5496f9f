"""Start a Jupyter session on a BinderHub, use it, and make sure that it stops.

    import clinder

    with clinder.open_session("binder-examples/requirements") as session:
        print(session.url)

Nothing here prints, exits or installs a signal handler. Every error is a
:class:`~clinder.errors.ClinderError`; :mod:`clinder.errors` lists them.
"""

from __future__ import annotations

from importlib import import_module

from clinder._version import __version__

TYPE_CHECKING = False  # typing's would take longer to import than all of this
if TYPE_CHECKING:
    from clinder.api import open_session, start, stop
    from clinder.errors import ClinderError
    from clinder.session import Session

__all__ = ["ClinderError", "Session", "__version__", "open_session", "start", "stop"]

_MODULES = {
    "ClinderError": "clinder.errors",
    "Session": "clinder.session",
    "open_session": "clinder.api",
    "start": "clinder.api",
    "stop": "clinder.api",
}


def __getattr__(name: str) -> object:
    """Import a public name when it is first used, because the commands need none of them."""
    if name in ("errors", "events", "session", "session_file", "timeouts"):
        return import_module(f"clinder.{name}")
    if name not in _MODULES:
        raise AttributeError(f"module 'clinder' has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    """Return the names of the API."""
    return sorted(__all__)
