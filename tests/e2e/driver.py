"""``clinder run -- COMMAND`` with short intervals and grace periods."""

from __future__ import annotations

import json
import sys

from clinder.cli.gateway_options import GatewaySettings
from clinder.cli.options import Options
from clinder.cli.run import run
from clinder.cli.streams import print_error
from clinder.cli.waiting import Grace
from clinder.errors import ClinderError
from clinder.launch.options import LaunchOptions
from clinder.running.keep_alive import Intervals
from clinder.timeouts import Timeouts


def main(settings: str, *command: str) -> int:
    """Run a command.

    ``settings`` is JSON: ``hub``, ``lazy``, ``keep_alive``, ``unknown`` and ``Grace``'s fields.
    """
    values = json.loads(settings)
    launch = LaunchOptions(
        repository="org/repo",
        hubs=(values.pop("hub", "local"),),
        timeout=60.0,
        warm_up=None,
        timeouts=Timeouts(stop=values.get("stop")),
    )
    try:
        return run(
            Options(launch, session_file=None, quiet=False, verbose=False),
            command,
            gateway=GatewaySettings(lazy=values.pop("lazy", False)),
            keep_alive=values.pop("keep_alive", 3600.0),
            intervals=Intervals(every=0.1, confirm=0.1, unknown=values.pop("unknown", 60.0)),
            grace=Grace(**values),
        )
    except ClinderError as error:
        print_error(error)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
