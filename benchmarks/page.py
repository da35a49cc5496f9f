"""Update ``docs/performance.md`` with the figures of the last ``make bench``."""

from __future__ import annotations

from pathlib import Path

from benchmarks import report
from benchmarks.report import Report

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "performance.md"
RESULTS = ROOT / "benchmarks" / "results.json"
BEGIN, END = "<!-- The figures: begin -->\n", "<!-- The figures: end -->\n"


def render() -> str:
    """Return the page with the saved figures."""
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    return f"{before}{BEGIN}\n{report.render(Report.load(RESULTS))}\n{END}{after}"


if __name__ == "__main__":
    PAGE.write_text(render(), encoding="utf-8", newline="\n")
