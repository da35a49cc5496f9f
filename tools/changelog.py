"""Cut one version's section out of CHANGELOG.md: the notes of its release.

``python tools/changelog.py 1.2.3``. Standard library only.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

_HEADING = re.compile(r"^## (?P<version>\S+) \((?P<when>[^)]*)\)$", re.MULTILINE)
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")


class NotReady(Exception):
    """The version cannot be released as things are. The text says what to do."""


def notes(changelog: str, version: str) -> str:
    """Return the text under a version's heading. Raises :class:`NotReady`."""
    headings = list(_HEADING.finditer(changelog))
    ends = [each.start() for each in headings[1:]] + [len(changelog)]
    for heading, end in zip(headings, ends, strict=True):
        if heading["version"] != version:
            continue
        if not _DAY.fullmatch(heading["when"]):
            raise NotReady(
                f"CHANGELOG.md says that {version} is {heading['when']!r}. "
                "Write the day of the release there, as YYYY-MM-DD."
            )
        text = changelog[heading.end() : end].strip()
        if not text:
            raise NotReady(f"CHANGELOG.md says nothing of {version}. Write what changes for users.")
        return f"{text}\n"
    raise NotReady(f"CHANGELOG.md has no section `## {version} (YYYY-MM-DD)`. Add it.")


if __name__ == "__main__":
    try:
        sys.stdout.write(notes(Path("CHANGELOG.md").read_text(encoding="utf-8"), sys.argv[1]))
    except (NotReady, OSError) as error:
        sys.exit(f"changelog: {error}")
