"""``clinder run --hub local -- COMMAND`` with another pace and patience than people have."""

from __future__ import annotations

import json
import sys

from clinder.cli.launching import Options
from clinder.cli.run import Patience, run
from clinder.cli.screen import tell
from clinder.errors import ClinderError
from clinder.policy.watch import Pace


def main(settings: str, *command: str) -> int:
    """Run the command; ``settings`` is JSON: ``keep_alive``, ``end``, ``stop``, in seconds."""
    given = json.loads(settings)
    options = Options(
        repository="",
        hubs=("local",),
        ref="",
        timeout=60.0,
        build_token="",
        session_file=None,
        quiet=False,
        verbose=False,
    )
    try:
        return run(
            options,
            command,
            keep_alive=given.get("keep_alive", 3600.0),
            pace=Pace(every=0.1, again=0.1),
            patience=Patience(end=given.get("end", 10.0), stop=given.get("stop", 30.0)),
        )
    except ClinderError as error:
        tell(error)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
