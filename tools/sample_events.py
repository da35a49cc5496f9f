"""One example of each line that ``--events`` writes, in the order of a ``clinder run``.

``docs/events.md`` shows some of them, and a test checks that none is missing.
"""

from __future__ import annotations

from dataclasses import replace

from clinder import events
from clinder.cli import event_log
from clinder.session import Attempt, Session

_HUB = "https://mybinder.org/"
_SPEC = "gh/binder-examples/requirements/HEAD"
_COMMIT = "50533eb470ee6c24e872043d30b2fee463d6943f"
_FULL = Attempt(_HUB, "HubFull", "The hub is full.", seconds=1.2)
_LAUNCHED = Session(
    "https://hub.2i2c.mybinder.org/user/binder-examples-requirements-x1y2z3/",
    "s3cret",
    hub=_HUB,
    launch_host="https://2i2c.mybinder.org/",
    spec=_SPEC,
    persistent_spec=f"gh/binder-examples/requirements/{_COMMIT}",
    repo_url="https://github.com/binder-examples/requirements",
    ref_url=f"https://github.com/binder-examples/requirements/tree/{_COMMIT}",
    binder_link=f"{_HUB}v2/gh/binder-examples/requirements/{_COMMIT}",
    image=f"registry.example.org/binder-examples-requirements:{_COMMIT}",
    started_at="2026-09-01T12:00:00+00:00",
)
_READY = replace(
    _LAUNCHED,
    phases={"built": 0.1, "launching": 12.3, "readiness": 1.7},
    attempts=(_FULL, Attempt(_HUB, "ready", seconds=14.1, waited=60.0)),
)

SAMPLES: tuple[event_log.Line, ...] = (
    event_log.Opened(events.SCHEMA, "1.0.0", "run"),
    events.WarningIssued("This checkout has changes that are not committed."),
    events.BuildRequested(_HUB, _SPEC, number=1),
    events.AttemptFailed(_FULL),
    events.Waiting(60.0, _HUB),
    events.PhaseStarted("launching"),
    events.LogLines("launching", ("Launching server...",)),
    events.PhaseEnded("launching", 12.3),
    events.SessionLaunched(_LAUNCHED),
    events.SessionReady(_READY),
    event_log.CommandStarted(),
    event_log.CommandEnded(0),
    events.SessionNotStopped(_READY, "The session still runs: it did not shut down in time."),
    events.SessionStopped(_READY),
    event_log.Finished(0),
)
