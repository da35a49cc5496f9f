"""Quarto's setup cell does not change to a folder that only this machine has."""

from __future__ import annotations

import json

import pytest

from clinder.bridge.envelope import Message
from clinder.bridge.quarto import without_chdir

BEFORE = "import os\nprint(json.dumps(kernel_deps))\n\n"
AFTER = "\n\n# reset state\n%reset\n"
OLD = "# set run_path if requested\nif r'/home/a/docs':\n  os.chdir(r'/home/a/docs')"
NEW = (
    "# set run_path if requested\nrun_path = '2f686f6d65'\nif run_path:\n"
    '  run_path = bytes.fromhex(run_path).decode("utf-8")\n  os.chdir(run_path)'
)


def request(content: object) -> Message:
    return Message("shell", (b'{"msg_id": "1"}', b"{}", b"{}", json.dumps(content).encode()))


@pytest.mark.parametrize("lines", [OLD, NEW])
def test_the_lines_that_change_the_folder_are_left_out(lines: str) -> None:
    sent = without_chdir(request({"code": f"{BEFORE}{lines}{AFTER}", "silent": False}))
    assert sent.content == {"code": f"{BEFORE}{AFTER}", "silent": False}
    assert sent.header == {"msg_id": "1"}


@pytest.mark.parametrize(
    "content", [{"code": "import os; os.chdir('x')"}, {"code": 1, "x": OLD}, {"x": OLD}, [OLD]]
)
def test_any_other_message_is_not_changed(content: object) -> None:
    message = request(content)
    assert without_chdir(message) is message
