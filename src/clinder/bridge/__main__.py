"""The program that a kernelspec starts: ``python __main__.py FOLDER NAME CONNECTION_FILE ...``.

The tool's own Python runs it. clinder's modules come from clinder's environment; for everything
else, the tool's environment takes precedence.
"""

import json
import sys
from pathlib import Path


def relay(folder: str, kernelspec: str, connection_file: str, *_: str) -> int:
    """Relay one kernel. Further arguments are options for kernels in Python, and are ignored."""
    try:
        settings = json.loads(Path(folder, "clinder-bridge.json").read_text(encoding="utf-8"))
        connection = json.loads(Path(connection_file).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        sys.stderr.write("clinder: This kernel's session has ended.\n")
        return 1
    own, *others = settings["libraries"]
    sys.path[0] = own
    from clinder.bridge.settings import Settings

    sys.path[:] = [*sys.path[1:], own, *others]
    from zmq import ZMQError

    from clinder.bridge.relay import Relay
    from clinder.bridge.sockets import KernelSockets

    try:
        opened = KernelSockets(connection)
    except ZMQError as error:  # jupyter_client chooses ports that another program can take
        sys.stderr.write(
            f"clinder: This kernel cannot listen for its tool: {error}. Start it again.\n"
        )
        return 1
    with opened as sockets:
        return Relay(sockets, Settings(**settings), kernelspec).run()


def refuse(name: str, available: str, *_: str) -> int:
    """Explain that the session does not have a kernelspec of this machine."""
    sys.stderr.write(
        f"clinder: The session has no kernelspec {name!r}, so the notebook does not run."
        f" The session has: {available}. Change the notebook's kernelspec, or use --no-kernels"
        " to run notebooks on this machine.\n"
    )
    return 1


if __name__ == "__main__":
    sys.exit(refuse(*sys.argv[2:]) if sys.argv[1] == "--refuse" else relay(*sys.argv[1:]))
