"""A dialog with kernels, as tools have it: ``python dialog.py TRANSCRIPT [LARGE]``.

Whether the kernelspec ``python3`` is this machine's or starts a bridge to a session, the transcript
is the same. The last cell has ``LARGE`` bytes.
"""

from __future__ import annotations

import json
import sys
import uuid
from pathlib import Path
from typing import Any

from jupyter_client.manager import KernelManager

TIMEOUT = 60
ECHO = """
def echo(comm, message):
    @comm.on_msg
    def answer(message):
        buffers = [bytes(each)[::-1] for each in message["buffers"]]
        comm.send(message["content"]["data"], buffers=buffers)
    comm.send("opened")
get_ipython().kernel.comm_manager.register_target("echo", echo)
"""
FIELDS = ("status", "ename", "evalue", "execution_count", "user_expressions", "matches", "history")
ASKED = [
    "import os; print(1); display(2); value = 3; os.path.basename(os.getcwd())",
    "print(input('Name? ')); import getpass; print(getpass.getpass('Secret? '))",
    "handle = display('before', display_id='it'); handle.update('after')",
    "from IPython.display import clear_output; print('gone'); clear_output()",
    "import sys; print('out'); print('err', file=sys.stderr)",
    "from IPython.display import Image; Image(data=b'GIF89a', format='gif')",
    "raise ValueError('é')",
    "value; value +",
    ECHO,
]


class Dialog:
    """One kernel, and everything that it sent."""

    def __init__(self) -> None:
        self.manager = KernelManager(kernel_name="python3")
        self.manager.start_kernel()
        self.client: Any = self.manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=TIMEOUT)
        self.said: list[Any] = []

    def ask(self, code: str, **options: object) -> None:
        """Execute code; each request for input is answered with its own prompt."""
        reply = self.client.execute_interactive(
            code,
            allow_stdin=True,
            stdin_hook=lambda message: self.client.input(message["content"]["prompt"]),
            output_hook=self.hear,
            timeout=TIMEOUT,
            **options,
        )
        self.note(reply)

    def hear(self, message: dict[str, Any]) -> None:
        """Note a message to all clients; adjacent output to a stream is one entry."""
        kind, content = message["msg_type"], message["content"]
        content.pop("traceback", None)  # names the kernel's process
        content.pop("comm_id", None)
        buffers = [bytes(each).decode() for each in message.get("buffers", ())]
        if kind == "stream" and self.said and self.said[-1][:2] == [kind, content["name"]]:
            self.said[-1][2] += content["text"]
        elif kind == "stream":
            self.said.append([kind, content["name"], content["text"]])
        else:
            self.said.append([kind, content, buffers])

    def note(self, reply: dict[str, Any]) -> None:
        """Note a reply, without what differs from one kernel to the next."""
        content = {name: reply["content"][name] for name in FIELDS if name in reply["content"]}
        if "history" in content:
            content["history"] = [each[1:] for each in content["history"]]
        self.said.append([reply["msg_type"], content])

    def send(self, kind: str, content: dict[str, Any], *buffers: bytes) -> None:
        """Send a message that has no reply, and wait until the kernel has handled it."""
        message = self.client.session.msg(kind, content)
        message["buffers"] = list(buffers)
        self.client.shell_channel.send(message)
        self.hear_until_idle(message["header"]["msg_id"])

    def hear_until_idle(self, request: str, *, text: str = "") -> None:
        """Note the answers to a request, until the kernel is idle or prints a text."""
        while True:
            message = self.client.get_iopub_msg(timeout=TIMEOUT)
            if message["parent_header"].get("msg_id") != request:
                continue
            self.hear(message)
            if text and text in str(message["content"].get("text")):
                return
            if message["content"].get("execution_state") == "idle":
                return

    def end(self) -> list[Any]:
        """Shut the kernel down, and return the transcript."""
        self.client.stop_channels()
        self.manager.shutdown_kernel()
        return self.said


def about_the_code(dialog: Dialog) -> None:
    """Ask what an editor asks, and evaluate expressions."""
    client = dialog.client
    dialog.ask("", user_expressions={"two": "1 + 1"})
    dialog.ask("hidden = 1", silent=True)
    # On a busy machine, jedi sometimes finds nothing.
    dialog.ask("%config IPCompleter.use_jedi = False")
    dialog.note(client.complete("valu", 4, reply=True, timeout=TIMEOUT))
    dialog.note(client.inspect("value", 3, reply=True, timeout=TIMEOUT))
    dialog.note(client.history(start=1, stop=3, session=0, reply=True, timeout=TIMEOUT))
    client.is_complete("if True:")
    dialog.note(client.get_shell_msg(timeout=TIMEOUT))


def interrupt(dialog: Dialog) -> None:
    """Interrupt a cell. The cell after it is aborted."""
    code = "import time; print('begun', flush=True); time.sleep(600)"
    request = dialog.client.execute(code)
    after = dialog.client.execute("print('never')")
    dialog.hear_until_idle(request, text="begun")  # by then, the kernel has the cell after it
    dialog.manager.interrupt_kernel()
    dialog.hear_until_idle(request)
    dialog.hear_until_idle(after)
    for _ in range(2):
        dialog.note(dialog.client.get_shell_msg(timeout=TIMEOUT))


def comms(dialog: Dialog) -> None:
    """Exchange buffers with a comm, as widgets do."""
    comm = {"comm_id": uuid.uuid4().hex}
    dialog.send("comm_open", {**comm, "target_name": "echo", "data": {}})
    dialog.send("comm_msg", {**comm, "data": {"a": 1}}, b"one", b"", b"two")
    dialog.send("comm_close", {**comm, "data": {}})


def main(path: str, large: str = "0") -> None:
    """Hold the dialog."""
    dialog = Dialog()
    for code in ASKED:
        dialog.ask(code)
    about_the_code(dialog)
    interrupt(dialog)
    comms(dialog)
    other = Dialog()  # at the same time
    other.ask("value")
    dialog.manager.restart_kernel()
    dialog.client.wait_for_ready(timeout=TIMEOUT)
    dialog.ask("value")
    same, dialog.said = dialog.said, []
    dialog.ask("#" * int(large))
    dialog.ask("print('next')")
    transcript = {"same": [same, other.end()], "large": dialog.end()}
    Path(path).write_text(json.dumps(transcript), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
