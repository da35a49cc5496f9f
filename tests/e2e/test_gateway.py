"""The documentation's recipe for using a session's kernels in a local Jupyter server."""

from __future__ import annotations

import os
import re
import socket
import sys
from pathlib import Path

import pytest

from e2e.world import World

PAGE = Path(__file__).resolve().parents[2] / "docs" / "migrating.md"
JUPYTER = """#!/bin/sh -e
test "$1" = lab && test -z "${JUPYTER_TOKEN+set}"
python -m jupyter_server --allow-root --no-browser --port="$PORT" --ServerApp.port_retries=0 \\
  --IdentityProvider.token="$OWN_TOKEN" > "$LOG" 2>&1 &
trap "kill $!; wait $!" EXIT
export JUPYTER_BASE_URL="http://127.0.0.1:$PORT/" JUPYTER_TOKEN="$OWN_TOKEN"
until clinder status > /dev/null 2>&1; do kill -0 $!; sleep 0.1; done
clinder exec -c "import os; print('ran for', os.environ['BINDER_REQUEST'])"
"""
"""A stand-in for JupyterLab: its server, and code that runs on one of that server's kernels."""


def recipe() -> str:
    """Return the recipe from the page."""
    blocks = re.findall(r"^```sh\n(.*?)^```", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    (script,) = (block for block in blocks if "JUPYTER_GATEWAY_URL" in block)
    assert script.startswith("clinder run ORG/REPO -- ")
    return str(script)


@pytest.mark.posix
def test_a_local_jupyter_server_uses_the_kernels_of_a_session(world: World) -> None:
    programs, log = world.root / "programs", world.root / "log"
    programs.mkdir()
    (programs / "jupyter").write_text(JUPYTER, encoding="utf-8")
    (programs / "jupyter").chmod(0o755)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    path = (programs, Path(sys.executable).parent, os.environ["PATH"])
    world.variables |= {
        "PATH": os.pathsep.join(map(str, path)),
        "PORT": str(port),
        "OWN_TOKEN": "token-of-the-local-server",
        "LOG": str(log),
    }

    result = world.sh(recipe().replace("ORG/REPO", "-q --hub local"))

    text = log.read_text(encoding="utf-8")
    assert (result.code, result.err) == (0, ""), text
    assert re.fullmatch(r"ran for v2/git/file%3A%2F%2Flocalhost\S+\n", result.out)
    assert "GatewayKernelManager started kernel" in text
    world.wait_for_servers(0)
