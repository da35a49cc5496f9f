"""Quarto's setup cell, which would change to a folder of this machine.

Quarto adds the cell in front of a document's own (``src/resources/jupyter/lang/python/setup.py`` in
quarto-dev/quarto-cli). It names the document's folder by its absolute path here, which the
session's machine does not have. The kernel starts in the right folder anyway.
"""

from __future__ import annotations

import json
from dataclasses import replace

from clinder.bridge.envelope import Message

_BEGIN = "# set run_path if requested"


def without_chdir(message: Message) -> Message:
    """Return a message without the lines of Quarto's setup cell that change the folder."""
    header, parent, metadata, content = message.parts
    if _BEGIN.encode() not in content:
        return message
    fields = message.content
    code = fields.get("code")
    if not isinstance(code, str) or _BEGIN not in code:
        return message
    before, _, rest = code.partition(_BEGIN)
    _, separator, after = rest.partition("\n\n")
    content = json.dumps({**fields, "code": f"{before}{separator}{after}"}).encode()
    return replace(message, parts=(header, parent, metadata, content))
