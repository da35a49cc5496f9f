"""Print a version's section of CHANGELOG.md as release notes: ``tools/changelog.py 1.2.3``.

Uses only the standard library.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

_HEADING = re.compile(r"^## (?P<version>\S+) \((?P<day>[^)]*)\)$", re.MULTILINE)
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")


class NotReady(Exception):
    """The version cannot be released yet. The message explains what to do."""


def notes(changelog: str, version: str) -> str:
    """Return the text under a version's heading. Raises :class:`NotReady`."""
    headings = list(_HEADING.finditer(changelog))
    ends = [each.start() for each in headings[1:]] + [len(changelog)]
    for heading, end in zip(headings, ends, strict=True):
        if heading["version"] != version:
            continue
        if not _DAY.fullmatch(heading["day"]):
            raise NotReady(
                f"In CHANGELOG.md, {version} is dated {heading['day']!r}. "
                "Replace this with the day of the release, as YYYY-MM-DD."
            )
        text = changelog[heading.end() : end].strip()
        if not text:
            raise NotReady(f"CHANGELOG.md says nothing about {version}. Describe what changes.")
        return f"{text}\n"
    raise NotReady(f"CHANGELOG.md has no section `## {version} (YYYY-MM-DD)`. Add it.")


if __name__ == "__main__":
    try:
        sys.stdout.write(notes(Path("CHANGELOG.md").read_text(encoding="utf-8"), sys.argv[1]))
    except (NotReady, OSError) as error:
        sys.exit(f"changelog: {error}")
