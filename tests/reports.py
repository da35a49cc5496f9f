"""Reports for tests."""

from __future__ import annotations

from clinder import errors
from clinder.gateway.report import (
    CellError,
    Command,
    Kernel,
    Launch,
    Problem,
    Report,
    Resources,
    SlowCell,
    Stop,
)
from clinder.session import Attempt, Session

GIB = 1024**3
SESSION = Session(
    "https://hub.example.org/user/one/",
    "secret-token",
    hub="https://hub.example.org/",
    spec="gh/o/r/main",
    image="r2d-o-r:1",
    started_at="2026-07-01T00:00:00+00:00",
    phases={"building": 61.25, "readiness": 2.0},
    attempts=(Attempt("https://hub.example.org/", "ready", seconds=63.25),),
)
GOOD = Kernel("good.ipynb", "python3", "python3", 0.0, 1.5, cells=3, seconds=4.0)
FAILED = Kernel(
    "failed.ipynb",
    "conda-base-py",
    "python3",
    12.0,
    1.5,
    cells=7,
    seconds=3725.0,
    slowest=(SlowCell(6, 3600.0), SlowCell(5, 61.0), SlowCell(1, 60.0)),
    errors=(
        CellError(2, "cell", "ValueError", "allowed", followed=True),
        CellError(7, "cell", "NameError", "name 'x' is not defined"),
    ),
    error_count=2,
)
DIED = Kernel(
    "died.md",
    cells=1,
    errors=(CellError(1, "expression", "KernelDied", "The kernel died."),),
    error_count=1,
    deaths=1,
    reconnections=1,
    across_reconnections=(1, 2, 3, 4, 5, 6),
    dropped_output=(1,),
)
NEVER_READY = Kernel("never.ipynb", "ir", "ir", problem="The kernel did not respond within 300 s.")
WHOLE = Report(
    launch=Launch.of(SESSION),
    kernels=(GOOD, FAILED, DIED, NEVER_READY),
    resources=Resources(int(5.1 * GIB), 8 * GIB, 250.0, 4),
    command=Command(1, 3800.12345),
    stop=Stop("stopped", "The session is stopped.", 1.0),
    problem=Problem.of(errors.SessionGone("The session is gone.")),
    warnings=("The session has no kernelspec 'conda-base-py', so clinder starts 'python3'.",),
)
