"""Start a Jupyter session on a BinderHub, use it, and make sure that it stops.

    import clinder

    with clinder.session("binder-examples/requirements") as session:
        print(session.url)

Nothing here prints, exits or installs a signal handler. All errors are
:class:`~clinder.errors.ClinderError`; :mod:`clinder.errors` has their kinds.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType

from clinder._version import __version__

TYPE_CHECKING = False  # typing's would take longer to import than all of this
if TYPE_CHECKING:
    from clinder.api import session, start, stop
    from clinder.errors import ClinderError
    from clinder.session import Session

__all__ = ["ClinderError", "Session", "__version__", "session", "start", "stop"]

_MODULES = {
    "ClinderError": "clinder.errors",
    "Session": "clinder.session",
    "session": "clinder.api",
    "start": "clinder.api",
    "stop": "clinder.api",
}


def __getattr__(name: str) -> object:
    """Return a name of the API, imported now: the commands need none, and a Ctrl-C no traceback."""
    if name in ("errors", "events", "timeouts"):
        return import_module(f"clinder.{name}")
    if name not in _MODULES:
        raise AttributeError(f"module 'clinder' has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    """Return the names of the API."""
    return sorted(__all__)


class _Package(ModuleType):
    """The package: its ``session`` is the function, also once the module of that name is there."""

    def __setattr__(self, name: str, value: object) -> None:
        if not (name == "session" and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
