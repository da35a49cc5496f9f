"""Write the fault table into its page: ``python tests/reliability.py``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
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
    launches = "".join(_section(heading, _launches(rows)) for heading, rows in TABLE.items())
    stops = (
        (row.fault, f"{row.reaction} ({row.stop_exit}, {row.status_exit})") for row in STOPPING
    )
    return f"{launches}{_section('A session to stop', stops)}\n"


def _section(heading: str, rows: Iterable[tuple[str, str]]) -> str:
    """Return a list of outcomes, each with the faults that lead to it."""
    groups: dict[str, list[str]] = {}
    for fault, outcome in rows:
        groups.setdefault(outcome, []).append(fault)
    items = (f"\n{outcome}\n: {'; '.join(faults)}\n" for outcome, faults in groups.items())
    return f"\n## {heading}\n" + "".join(items)


def _launches(rows: tuple[Fault, ...]) -> Iterator[tuple[str, str]]:
    """Yield faults and outcomes. A fault that passes shares the outcome of one that stays."""
    for row in rows:
        codes = sorted({each.exit_code for each in rows if each.reaction == row.reaction})
        assert row.exit_code in dict(EXIT_CODES)
        passes = codes[0] == 0 and len(codes) == 2
        yield row.fault, f"{row.reaction} ({f'{codes[1]}, or 0' if passes else row.exit_code})"


if __name__ == "__main__":
    PAGE.write_text(render_page(), encoding="utf-8")
