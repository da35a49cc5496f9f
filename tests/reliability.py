"""Write the fault table into its page: ``python tests/reliability.py``."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from clinder.errors import EXIT_CODES
from faults import STOPPING, TABLE, Fault

PAGE = Path(__file__).resolve().parents[1] / "docs" / "faults.md"
BEGIN, END = "<!-- The fault table: begin -->\n", "<!-- The fault table: end -->\n"


def render_page() -> str:
    """Return the page with the current table."""
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    return f"{before}{BEGIN}{_tables()}{END}{after}"


def _tables() -> str:
    launches = (f"\n## {heading}\n\n{_launch_table(rows)}" for heading, rows in TABLE.items())
    return "".join(launches) + f"\n## A session to stop\n\n{_stop_table()}\n"


def _launch_table(rows: tuple[Fault, ...]) -> str:
    """Return the table. A fault that passes shares the row of one that stays."""
    shown = (
        (row.fault, f"{row.reaction} | {_exit_code(row, _codes(rows, row.reaction))}")
        for row in rows
    )
    return "| fault | clinder | exit code |\n|---|---|---|\n" + _grouped(shown)


def _codes(rows: tuple[Fault, ...], reaction: str) -> list[int]:
    return sorted({row.exit_code for row in rows if row.reaction == reaction})


def _exit_code(row: Fault, codes: list[int]) -> str:
    assert row.exit_code in dict(EXIT_CODES)
    return f"{codes[1]}, or 0" if codes[0] == 0 and len(codes) == 2 else str(row.exit_code)


def _grouped(rows: Iterable[tuple[str, str]]) -> str:
    """Return rows of faults and outcomes; faults with the same outcome share a row."""
    groups: dict[str, list[str]] = {}
    for fault, outcome in rows:
        groups.setdefault(outcome, []).append(fault)
    return "".join(f"| {'; '.join(faults)} | {outcome} |\n" for outcome, faults in groups.items())


def _stop_table() -> str:
    head = (
        "| the server or its proxy | `clinder stop` | exit code | of `clinder status` |\n"
        "|---|---|---|---|\n"
    )
    return head + _grouped(
        (row.fault, f"{row.reaction} | {row.stop_exit} | {row.status_exit}") for row in STOPPING
    )


if __name__ == "__main__":
    PAGE.write_text(render_page(), encoding="utf-8")
