"""Environment variables for a session's kernels: only those that somebody named.

A kernel gets them from code that it runs before anything else. Nothing is stored on the server.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from clinder._deadline import Deadline
from clinder.errors import CodeRaised, UsageError
from clinder.wire.kernel_channel import KernelChannel, KernelDied

MAX_SIZE = 512 * 1024
"""Bytes of all values together: a Jupyter Server accepts messages of up to 10 MiB."""
_SETUP_TIMEOUT = 60.0
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True)
class Variables:
    """Names and values. ``repr`` shows the names only.

    Raises :class:`~clinder.errors.UsageError` if a name or a value cannot be that of a variable.
    """

    values: Mapping[str, str] = field(default_factory=dict, repr=False)
    names: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "names", tuple(sorted(self.values)))
        for name, value in self.values.items():
            _require_name(name)
            if "\0" in value:
                raise UsageError(f"The value of {name} contains a NUL character.")
        if sum(len(_bytes(value)) for value in self.values.values()) > MAX_SIZE:
            raise UsageError(f"The variables have more than {MAX_SIZE // 1024} KiB in all.")

    def __bool__(self) -> bool:
        return bool(self.values)

    @property
    def warnings(self) -> tuple[str, ...]:
        """Return a sentence for each value that was probably pasted carelessly, or is missing."""
        return tuple(
            f"The variable {name} is empty."
            if not value
            else f"The value of {name} begins or ends with whitespace."
            for name, value in self.values.items()
            if value != value.strip() or not value
        )

    def setup_code(self, language: str) -> str | None:
        """Return code that sets the variables in a kernel, ``None`` for an unknown language.

        ``language`` is the name from the kernel's ``language_info``. The code leaves no other name
        behind and prints nothing.
        """
        write = _LANGUAGES.get(language.lower())
        return write(self.values) if write else None


class NotSet(Exception):
    """The variables could not be set in a kernel; ``message`` explains why, without a value."""

    def __init__(self, message: str):
        super().__init__(message)
        self.message = message


class LanguageUnknown(NotSet):
    """clinder has no code that sets variables in a kernel for this language."""


def make_preparation(
    variables: Variables, warn: Callable[[str], None]
) -> Callable[[KernelChannel, str], None]:
    """Return a function that sets the variables in each kernel of a session before its use.

    It warns about a kernelspec for an unknown language, and raises
    :class:`~clinder.errors.CodeRaised` if a kernel cannot be set up.
    """
    warned: set[str] = set()

    def prepare(kernel: KernelChannel, kernelspec: str) -> None:
        try:
            set_variables(kernel, variables, Deadline(_SETUP_TIMEOUT))
        except LanguageUnknown as error:
            if kernelspec not in warned:
                warned.add(kernelspec)
                warn(f"{error.message} Kernels of {kernelspec} have no variables.")
        except (NotSet, KernelDied) as error:
            raise CodeRaised(error.message) from None

    return prepare


def set_variables(kernel: KernelChannel, variables: Variables, deadline: Deadline) -> None:
    """Set the variables in a kernel that responds.

    Raises :class:`NotSet`, and what :meth:`KernelChannel.execute_silently` raises.
    """
    code = variables.setup_code(kernel.language)
    if code is None:
        language = kernel.language or "an unknown language"
        raise LanguageUnknown(f"clinder cannot set variables in a kernel for {language}.")
    if error := kernel.execute_silently(code, deadline):
        raise NotSet(f"The kernel could not set its variables: it raised {error}.")


def take_variables(
    names: Iterable[str], environ: Mapping[str, str], file: Mapping[str, str | None] | None = None
) -> Variables:
    """Return the named variables of the environment, and those of a file.

    A file's ``None`` is a name without a value, which the environment must have. Raises
    :class:`~clinder.errors.UsageError` if it does not.
    """
    values: dict[str, str] = {}
    for name, value in (*(file or {}).items(), *((name, None) for name in names)):
        _require_name(name)
        if value is None and name not in environ:
            raise UsageError(
                f"The variable {name} is not set, so clinder cannot pass it on.",
                hint="Set it in the environment of clinder, or omit it.",
            )
        values[name] = environ[name] if value is None else value
    return Variables(values)


def _require_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        shown = ascii(name.partition("=")[0][:100])  # what follows might be a secret
        raise UsageError(
            f"{shown} is not the name of a variable.",
            hint="Give only the name: clinder takes the value from its own environment.",
        )


def _write_python(values: Mapping[str, str]) -> str:
    items = ", ".join(f"{name!a}: {value!a}" for name, value in values.items())
    return f'__import__("os").environ.update({{{items}}})'


def _write_r(values: Mapping[str, str]) -> str:
    """Bytes, because R converts a string that is not ASCII to the locale's encoding."""
    items = ", ".join(
        f"`{name}` = rawToChar(as.raw(c({', '.join(map(str, _bytes(value)))})))"
        for name, value in values.items()
    )
    return f"base::Sys.setenv({items})"


def _write_julia(values: Mapping[str, str]) -> str:
    items = "; ".join(
        f'ENV["{name}"] = String(UInt8[{", ".join(map(str, _bytes(value)))}])'
        for name, value in values.items()
    )
    return f"{items}; nothing"


def _bytes(value: str) -> bytes:
    """Return the bytes that a variable of this machine has, which need not be UTF-8."""
    return value.encode(errors=sys.getfilesystemencodeerrors())


_LANGUAGES = {"python": _write_python, "r": _write_r, "julia": _write_julia}
