"""How long MyST takes for a book whose outputs are cached, with a launch on demand and without."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from benchmarks.hub import SPEC
from benchmarks.measure import Bench, Command, Contender, Figures, measure_in_turns
from benchmarks.report import Comparison, Goal
from clinder.embedded.hub import Hub
from e2e.myst import MYST, OFFLINE, book, page

_LAZY, _EAGER = "clinder run --lazy", "clinder run"
_PAGES = 10


def compare(bench: Bench, runs: int) -> Iterator[Comparison]:
    """Build the book in turns, after a build that fills the cache."""
    folder, requests = bench.folder / "cached", list[str]()
    book(folder, {f"page-{each}.md": page(f"print({each} * 7)") for each in range(_PAGES)})
    empty = bench.folder / "empty"
    empty.mkdir()
    with Hub(empty, stop_servers=True, report=requests.append) as hub:

        def build(name: str) -> Figures:
            requests.clear()
            build_book = 'cd "$0" && exec "$@" build --site --execute'
            argv = [*name.split(), SPEC.removeprefix("gh/").removesuffix("/HEAD"), "-q"]
            command = ["sh", "-c", build_book, str(folder), MYST]
            figures = bench.figures(
                Command((*argv, "--hub", hub.url, "--", *command), OFFLINE, timeout=600)
            )
            builds = sum(each.startswith("GET /build/") for each in requests)
            return {"wall": figures["wall"], "builds": builds}

        contenders = [Contender(name, partial(build, name)) for name in (_LAZY, _EAGER)]
        series = measure_in_turns(contenders, max(1, runs // 3))
    lazy, eager = series
    yield Comparison(
        f"A launch on demand: {_PAGES} cached pages",
        "MyST builds a book whose outputs are all cached. The embedded hub builds no image; a real"
        " hub takes at least some seconds longer for a launch, and minutes if it builds an image.",
        series,
        (
            Goal("build requests with a launch on demand", max(lazy.all("builds")), 0.0),
            Goal("build requests without", max(eager.all("builds")), 1.0),
        ),
        baselines=(_EAGER,),
    )
