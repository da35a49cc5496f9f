"""What happened between the launch and the stop: the values of the report, version 1.

The fields of these classes are those of the report's JSON. Text that is not clinder's own is safe
to print and bounded; no field holds a token, code or output.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class CellError:
    """An error that a cell raised, or that ended it.

    ``cell`` counts the page's code cells from 1, in the order in which they ran. ``kind`` is
    ``cell``, or ``expression`` for an inline expression after that cell. ``name`` is that of the
    exception, or of clinder's own error. If another cell ``followed``, the notebook allows the
    error; otherwise it ended its page, or was allowed in the page's last cell.
    """

    cell: int
    kind: str
    name: str
    text: str
    followed: bool = False


@dataclass(frozen=True)
class SlowCell:
    """A cell and the ``seconds`` that it ran."""

    cell: int
    seconds: float


@dataclass(frozen=True)
class Kernel:
    """One kernel, and what ran on it. Most tools start one for each page.

    ``page`` is the path that the tool gave. ``requested`` is the kernelspec that the page names,
    ``kernelspec`` the one that ran. ``waited`` is how many seconds it waited for another kernel to
    end, ``ready_after`` how many it took to respond, ``None`` if it never did.

    ``cells`` is the number of cells that ended, ``unfinished`` of those that did not, ``seconds``
    the time that they took, and ``slowest`` names those that took the longest. ``errors`` holds the
    first ones of ``error_count``. ``deaths`` counts how often the kernel died. ``time_limits``,
    ``across_reconnections`` and ``dropped_output`` are the numbers of the cells that reached the
    time limit, that ran while the connection to the session broke, so that part of their output
    can be missing, and of whose output the server dropped a part because of its rate limits.
    """

    page: str = ""
    requested: str = ""
    kernelspec: str = ""
    waited: float = 0.0
    ready_after: float | None = None
    cells: int = 0
    unfinished: int = 0
    seconds: float = 0.0
    slowest: tuple[SlowCell, ...] = ()
    errors: tuple[CellError, ...] = ()
    error_count: int = 0
    deaths: int = 0
    time_limits: tuple[int, ...] = ()
    reconnections: int = 0
    across_reconnections: tuple[int, ...] = ()
    dropped_output: tuple[int, ...] = ()

    @property
    def ended_by(self) -> CellError | None:
        """The error that ended the page, as far as that is known."""
        last = self.errors[-1] if self.errors else None
        return None if last is None or last.followed else last
