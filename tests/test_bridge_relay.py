"""A bridge's own decisions; what passes through it is tested with real tools and kernels."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.connect import write_connection_file

from channels import TOKEN, Server, serving
from clinder.bridge import __main__ as program
from clinder.bridge.kernelspecs import write_kernelspecs
from clinder.bridge.relay import name_kernel


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ("python bin/jupyter-execute docs/nb.ipynb --output=out.ipynb", "nb"),
        ("python bin/papermill in.ipynb out.ipynb", "in"),
        ("python bin/jupyter-nbconvert one.ipynb two.ipynb", "jupyter-nbconvert"),
        ("python bin/sphinx-build docs public", "sphinx-build"),
        ("python -m sphinx docs public", "kernel"),
        ("/home/a/work/nb.ipynb", "nb"),
        ("", "kernel"),
    ],
)
def test_a_kernel_is_named_for_the_notebook_or_else_for_the_tool(arguments: str, name: str) -> None:
    assert name_kernel(arguments.split()) == name


def test_a_cell_receives_its_reply_however_many_messages_a_tool_sends_meanwhile(
    tmp_path: Path,
) -> None:
    """A widget that somebody moves sends many, to which a kernel does not reply."""
    count = 5000

    def answer(_: str) -> list[str | bytes | None]:
        if len(server.requests) <= count:
            return []
        header = {"msg_id": "reply", "msg_type": "execute_reply", "session": "", "username": ""}
        parent = server.requests[0]["header"]
        answer = {"channel": "shell", "header": header, "parent_header": parent, "metadata": {}}
        return [json.dumps({**answer, "content": {"status": "ok"}})]

    server = Server(answer)
    with serving(server):
        folder = tmp_path / "kernelspecs"
        folder.mkdir()
        write_kernelspecs(folder, {}, url=server.url, token=TOKEN, top=tmp_path, local=())
        file, _ = write_connection_file(str(tmp_path / "connection.json"))
        command = [sys.executable, str(program.__file__), str(folder), "python3", file]
        client = BlockingKernelClient()
        client.load_connection_file(file)
        client.start_channels(iopub=False, stdin=False, hb=False, control=False)
        with subprocess.Popen(command, cwd=tmp_path) as bridge:
            try:
                cell = client.execute("1")
                for _ in range(count):
                    client.shell_channel.send(client.session.msg("comm_msg", {"comm_id": "x"}))
                reply = client.get_shell_msg(timeout=60)
            finally:
                client.stop_channels()
                bridge.terminate()
    assert reply["parent_header"]["msg_id"] == cell
