"""How long it takes to stop a session and verify that it is gone."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator

from answers import Raw, json_page, page
from benchmarks.hub import TOKEN, Marked
from benchmarks.measure import Bench, Command, Contender, Figures, difference, measure_in_turns
from benchmarks.report import Comparison, Goal, seconds, spread
from hubs import ScriptedHub

_CURL, _STOP = "`curl`, polling", "`clinder stop`"
_LINGERS = (0.0, 1.0)
_SCRIPT = """
curl -sSf -o /dev/null -X POST -H @authorization "${1}api/shutdown" || exit 1
until [ "$code" = 503 ] || [ "$code" = 302 ]; do
  [ -z "$code" ] || sleep 0.1
  code=$(curl -s -o /dev/null -w '%{http_code}' -H @authorization "${1}api/status")
done
"""


def compare(bench: Bench, runs: int) -> Iterator[Comparison]:
    """Compare stopping servers that are gone at once, and after a second."""
    authorization = bench.folder / "authorization"
    authorization.touch(mode=0o600)
    authorization.write_text(f"Authorization: token {TOKEN}\n")
    with ScriptedHub() as hub:
        for lingers in _LINGERS:
            yield _compare(_Sessions(bench, hub, lingers), runs, lingers)
    authorization.unlink()


def _compare(sessions: _Sessions, runs: int, lingers: float) -> Comparison:
    series = theirs, ours = measure_in_turns(sessions.contenders(), runs)
    more = difference(ours, theirs, "wall")
    return Comparison(
        f"Stop: a server that {f'runs on for {lingers:g} s' if lingers else 'is gone at once'}",
        "The same."
        if lingers
        else "From the command until the session is gone. A `curl` script requests the shutdown,"
        " then polls every 0.1 s until the proxy responds with 503. clinder first checks the"
        " server's status, and trusts a 503 only after a second one.",
        series,
        (Goal(f"additional time of {_STOP}, compared with `curl`", more.median, 0.3, "s"),),
        (f"Additional time compared with `curl`: {spread(more, seconds)}.",),
        baselines=(_CURL,),
    )


class _Sessions:
    """Sessions that continue to run for a while after a shutdown request."""

    def __init__(self, bench: Bench, hub: ScriptedHub, lingers: float):
        self._bench = bench
        self._hub = hub
        self._lingers = lingers
        self._numbers = itertools.count()

    def contenders(self) -> list[Contender]:
        """Return the two ways to stop a session."""
        return [Contender(_CURL, self._by_curl), Contender(_STOP, self._by_clinder)]

    def _by_curl(self) -> Figures:
        return self._bench.figures(Command(("sh", "-c", _SCRIPT, "sh", self._start())))

    def _by_clinder(self) -> Figures:
        session = {"JUPYTER_BASE_URL": self._start(), "JUPYTER_TOKEN": TOKEN}
        return self._bench.figures(Command(("clinder", "stop"), session))

    def _start(self) -> str:
        """Start a session, and return its URL."""
        path = f"/user/s{self._lingers:g}-{next(self._numbers)}/"
        pages = self._hub.pages

        def shut_down() -> None:
            if not self._lingers:
                gone()
            else:
                threading.Timer(self._lingers, gone).start()

        def gone() -> None:
            pages[f"{path}api/status"] = page(503)

        pages[f"{path}api/status"] = json_page(200, {"kernels": 0})
        pages[f"{path}api/shutdown"] = Raw(Marked(lambda: page(200, b"").raw().parts, shut_down))
        return f"{self._hub.origin}{path}"
