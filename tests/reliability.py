"""The page that shows the fault table: ``python tests/reliability.py`` writes it anew."""

from __future__ import annotations

from pathlib import Path

from clinder.errors import EXIT_CODES
from faults import STOPPING, TABLE, Fault

PAGE = Path(__file__).resolve().parents[1] / "docs" / "reliability.md"
BEGIN, END = "<!-- The fault table: begin -->\n", "<!-- The fault table: end -->\n"


def written() -> str:
    """Return the page with the table as it is now."""
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    return f"{before}{BEGIN}{_tables()}{END}{after}"


def _tables() -> str:
    launches = (f"\n### {heading}\n\n{_table(rows)}" for heading, rows in TABLE.items())
    return "".join(launches) + f"\n### A session that is to be stopped\n\n{_stopping()}\n"


def _table(rows: tuple[Fault, ...]) -> str:
    head = (
        "| what happens | what clinder does | exit code | build requests | within |\n"
        "|---|---|---:|---:|---:|\n"
    )
    return head + "".join(map(_row, rows))


def _row(row: Fault) -> str:
    meaning = dict(EXIT_CODES)
    assert row.code in meaning
    requests = " + ".join(map(str, row.requests)) or "none arrives"
    return f"| {row.happens} | {row.does} | {row.code} | {requests} | {row.within:g} s |\n"


def _stopping() -> str:
    head = (
        "| what its address answers | what `clinder stop` does | exit code | of `clinder status` |"
        " within |\n|---|---|---:|---:|---:|\n"
    )
    return head + "".join(
        f"| {row.happens} | {row.does} | {row.stop} | {row.status} | {row.within:g} s |\n"
        for row in STOPPING
    )


if __name__ == "__main__":
    PAGE.write_text(written(), encoding="utf-8")
