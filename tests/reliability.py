"""Write the fault table into its page: ``python tests/reliability.py``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from clinder.errors import EXIT_CODES
from faults import STOPPING, TABLE, Fault

PAGE = Path(__file__).resolve().parents[1] / "docs" / "faults.md"
_VARIANT = re.compile(r" \[.*\]$")
BEGIN, END = "<!-- The fault table: begin -->\n", "<!-- The fault table: end -->\n"


def render_page() -> str:
    """Return the page with the current table."""
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    return f"{before}{BEGIN}{_tables()}{END}{after}"


def _tables() -> str:
    launches = "".join(_section(heading, _launches(rows)) for heading, rows in TABLE.items())
    stops = (
        (row.fault, _outcome(row.reaction, row.stop_exit, row.status_exit)) for row in STOPPING
    )
    return f"{launches}{_section('A session to stop', stops)}\n"


def _section(heading: str, rows: Iterable[tuple[str, str]]) -> str:
    """Return a list of outcomes, each with the faults that lead to it."""
    groups: dict[str, dict[str, None]] = {}
    for fault, outcome in rows:
        groups.setdefault(outcome, {})[_shown(fault)] = None
    items = (f"\n{outcome}\n: {'; '.join(faults)}\n" for outcome, faults in groups.items())
    return f"\n## {heading}\n" + "".join(items)


def _shown(fault: str) -> str:
    """Return a fault without the part in brackets that distinguishes it from similar rows."""
    return _VARIANT.sub("", fault)


def _launches(rows: tuple[Fault, ...]) -> Iterator[tuple[str, str]]:
    """Yield faults and outcomes. A fault that passes shares the outcome of one that stays."""
    for row in rows:
        assert row.exit_code in dict(EXIT_CODES)
        alike = [each for each in rows if each.reaction == row.reaction]
        same = [each for each in alike if _shown(each.fault) == _shown(row.fault)]
        code = row.exit_code or _only_failure(same) or _only_failure(alike)
        yield row.fault, _outcome(row.reaction, code)


def _outcome(reaction: str, *codes: int) -> str:
    """Return a reaction with its exit codes, unless all are 0."""
    return f"{reaction} ({', '.join(map(str, codes))})" if any(codes) else reaction


def _only_failure(rows: Iterable[Fault]) -> int:
    """Return the exit code of these faults if they stay, or 0 if they pass or have several."""
    codes = {row.exit_code for row in rows if row.exit_code}
    return codes.pop() if len(codes) == 1 else 0


if __name__ == "__main__":
    PAGE.write_text(render_page(), encoding="utf-8")
