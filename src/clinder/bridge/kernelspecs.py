"""Kernelspecs that start a bridge, in a folder for the front of ``JUPYTER_PATH``.

jupyter_client searches ``JUPYTER_PATH`` before the user's, the environment's and the system's
folders, so these kernelspecs take precedence over local ones of the same name.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h11
import wsproto

from clinder.bridge import __main__ as program
from clinder.bridge.settings import Settings

NATIVE = "python3"
"""The name under which a Jupyter client offers the kernel of its own environment."""
_NAME = re.compile(r"(?!\.{1,2}\Z)[A-Za-z0-9._-]{1,200}")  # jupyter_client.kernelspec; a folder
_MARK = {"clinder": {"bridge": True}}


@dataclass(frozen=True)
class Written:
    """The names of the kernelspecs that run on the session, and of those that refuse to run."""

    session: tuple[str, ...]
    refused: tuple[str, ...]


def write_kernelspecs(
    folder: Path,
    specs: Mapping[str, Any],
    *,
    url: str,
    token: str,
    top: Path,
    local: Iterable[str],
) -> Written:
    """Write the kernelspecs of a session, and one that refuses for each other name in ``local``.

    ``folder`` is private to its owner. ``specs`` is the server's response to
    ``GET api/kernelspecs``. ``url`` and ``token`` are the gateway's; ``top`` is the checkout's top
    folder. A kernelspec of the session that starts a bridge itself is left out,
    because it would lead back to this machine.
    """
    Settings(url, token, str(top), _libraries()).write(folder)
    session = {name: spec for name, spec in _specs(specs) if not is_bridge(spec)}
    refused = sorted({*local, NATIVE} - set(session))
    script = str(Path(program.__file__).resolve())
    available = ", ".join(sorted(session)) or "none"
    for name, spec in session.items():
        _write(folder, name, [script, str(folder), name, "{connection_file}"], spec)
    for name in refused:
        _write(folder, name, [script, "--refuse", name, available], {})
    return Written(tuple(sorted(session)), tuple(refused))


def guess_kernelspecs(local: Iterable[str]) -> Mapping[str, Any]:
    """Return kernelspecs in the form of a server's response, for a server that is not known yet."""
    specs: dict[str, Any] = {name: {"spec": {"language": ""}} for name in local}
    specs[NATIVE] = {"spec": {"display_name": "Python 3", "language": "python"}}
    return {"kernelspecs": specs}


def _specs(data: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    listed = data.get("kernelspecs")
    for name, each in (listed if isinstance(listed, dict) else {}).items():
        spec = each.get("spec") if isinstance(each, dict) else None
        if _NAME.fullmatch(name) and isinstance(spec, dict):
            yield name, spec


def is_bridge(spec: Mapping[str, Any]) -> bool:
    """Whether a kernelspec was written by :func:`write_kernelspecs`."""
    metadata = spec.get("metadata")
    return isinstance(metadata, dict) and "clinder" in metadata


def _write(folder: Path, name: str, arguments: list[str], spec: Mapping[str, Any]) -> None:
    """Write one kernelspec, with only those of the server's fields that tools show or decide by."""
    directory = folder / "kernels" / name
    directory.mkdir(parents=True)
    text = {
        key: spec[key] for key in ("display_name", "language") if isinstance(spec.get(key), str)
    }
    content = {
        "argv": ["python", *arguments],  # a Jupyter client replaces `python` by its own
        "display_name": name,
        "language": "",
        **text,
        "interrupt_mode": "message",
        "metadata": _MARK,
    }
    (directory / "kernel.json").write_text(json.dumps(content), encoding="utf-8")


def local_names(environ: Mapping[str, str], executables: Iterable[str]) -> set[str]:
    """Return the names of the kernelspecs that tools on this machine could find.

    ``executables`` are paths of programs whose environments might have kernelspecs of their own.
    """
    names: set[str] = set()
    for folder in _local_folders(environ, executables):
        try:
            names |= {each.parent.name.lower() for each in folder.glob("kernels/*/kernel.json")}
        except OSError:
            continue
    return {name for name in names if _NAME.fullmatch(name)}


def _local_folders(environ: Mapping[str, str], executables: Iterable[str]) -> Iterator[Path]:
    """Yield the folders that jupyter_core searches (``jupyter_core.paths``)."""
    for each in environ.get("JUPYTER_PATH", "").split(os.pathsep):
        if each:
            yield Path(each)
    home = Path(environ.get("HOME", "") or environ.get("USERPROFILE", "") or Path("~").expanduser())
    if data := environ.get("JUPYTER_DATA_DIR"):
        yield Path(data)
    yield Path(environ.get("XDG_DATA_HOME") or home / ".local" / "share") / "jupyter"
    if sys.platform == "darwin":
        yield home / "Library" / "Jupyter"
    for variable in ("APPDATA", "PROGRAMDATA"):
        if value := environ.get(variable):
            yield Path(value) / "jupyter"
    prefixes = {Path(each).parent.parent for each in executables}
    prefixes |= {Path(environ[name]) for name in ("VIRTUAL_ENV", "CONDA_PREFIX") if name in environ}
    for prefix in (*prefixes, Path("/usr/local"), Path("/usr")):
        yield prefix / "share" / "jupyter"


def _libraries() -> tuple[str, ...]:
    own = str(Path(__file__).resolve().parents[2])
    others = (str(Path(each.__file__ or "").resolve().parents[1]) for each in (wsproto, h11))
    return tuple(dict.fromkeys((own, *others)))
