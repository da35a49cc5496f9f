"""Which of the server's kernelspecs runs a page that names another one.

A notebook names the kernelspec of the machine on which it was written, such as ``conda-env-x-py``.
If the server has no kernelspec of that name, MyST ends the whole build.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from clinder._text import one_line
from clinder.errors import UsageError
from clinder.wire.json_fields import get_object, get_text

_MAX_NAME = 100
_WORD = re.compile(r"[a-z+#]+")
_LANGUAGES = {
    "py": "python",
    "ipython": "python",
    "ipykernel": "python",
    "xpython": "python",
    "ir": "r",
    "xr": "r",
    "jl": "julia",
}
"""Languages by the words for them in kernelspec names, besides the language's own name.
nb_conda_kernels names a kernelspec after its environment, and then after its language."""


@dataclass(frozen=True)
class Mapped:
    """The name of the kernelspec to start, and a ``warning`` if it is not the requested one."""

    name: str
    warning: str = ""


def parse_aliases(texts: Sequence[str]) -> Mapping[str, str]:
    """Return aliases ``NAME=NAME``. Raises :class:`~clinder.errors.UsageError`."""
    aliases = {}
    for text in texts:
        name, _, target = (part.strip() for part in text.partition("="))
        if not name or not target:
            raise UsageError(f"A kernel alias has the form NAME=NAME, not {text!r}.")
        aliases[name] = target
    return aliases


def map_kernelspec(
    requested: str,
    specs: Mapping[str, Any],
    aliases: Mapping[str, str] | None = None,
    *,
    language: str = "",
) -> Mapped:
    """Return the kernelspec to start for the requested one.

    ``specs`` is the server's response to ``GET api/kernelspecs``. ``language`` is that of the page;
    if it is unknown, the requested name usually shows it. If the server has no kernelspec for that
    language either, its default is started.
    """
    wanted = (aliases or {}).get(requested, requested)
    languages = {name: _language(spec) for name, spec in get_object(specs, "kernelspecs").items()}
    # Servers ignore case in a kernelspec's name.
    if not languages or wanted.lower() in ("", *map(str.lower, languages)):
        return Mapped(wanted)
    default = get_text(specs, "default")
    default = default if default in languages else min(languages)
    name = default
    words = [language.lower()] if language else _WORD.findall(wanted.lower())
    for word in reversed(words):
        if same := [each for each, its in languages.items() if its == _LANGUAGES.get(word, word)]:
            name = default if default in same else min(same)
            break
    return Mapped(
        name,
        f"The session has no kernelspec {one_line(wanted, _MAX_NAME)!r}, so clinder starts "
        f"{one_line(name, _MAX_NAME)!r}.",
    )


def _language(spec: object) -> str:
    """Return the language of a kernelspec in lower case."""
    fields = get_object(spec, "spec") if isinstance(spec, dict) else {}
    return get_text(fields, "language").lower()
