"""The benchmarks: what is measured, what is made of that, and the page that shows it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

import clinder
from benchmarks import hub as scripted
from benchmarks import load, page
from benchmarks.measure import (
    Bench,
    BenchmarkFailed,
    Command,
    Contender,
    Figures,
    Series,
    Spread,
    difference,
    ratio,
    taken_in_turn,
)
from benchmarks.report import Comparison, Goal, Report, goals, section
from hubs import ScriptedHub

pytestmark = pytest.mark.posix

OURS = Series("ours", ({"wall": 1.0}, {"wall": 6.0}, {"wall": 3.0}))
THEIRS = Series("theirs", ({"wall": 2.0}, {"wall": 3.0}, {"wall": 2.0}))


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with Bench(tmp_path, Path(sys.executable).parent) as made:
        yield made


def python(code: str, **more: object) -> Command:
    return Command((sys.executable, "-I", "-S", "-c", code), **more)  # type: ignore[arg-type]


# What a run costs


def test_the_time_is_that_from_the_start_to_the_end(bench: Bench) -> None:
    asleep = bench.run(python("import time; time.sleep(0.2)"))

    assert asleep.end - asleep.start > 0.2
    assert asleep.cpu < asleep.figures["wall"]


def test_the_cpu_time_and_the_memory_are_those_of_the_command(bench: Bench) -> None:
    idle = bench.run(python("pass"))
    busy = bench.run(python("bytearray(80_000_000).count(1); sum(range(3_000_000))"))

    assert busy.cpu > idle.cpu
    assert 50e6 < busy.peak - idle.peak < 110e6


def test_what_is_measured_does_not_inherit_the_memory_of_who_asks(bench: Bench) -> None:
    ballast = bytearray(b"x" * 100_000_000)

    assert bench.run(python("pass")).peak < len(ballast)


def test_a_command_gets_its_own_environment_and_nothing_of_ours(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OURS", "1")
    code = "import os; print(os.environ.get('OURS'), os.environ['GIVEN'])"

    bench.run(python(code, env={"GIVEN": "2"}, says="None 2"))


def test_a_run_that_ends_otherwise_ends_the_benchmark_with_what_it_said(bench: Bench) -> None:
    with pytest.raises(BenchmarkFailed, match="exit code 3, where 0 was expected") as caught:
        bench.run(python("import sys; sys.exit(sys.stderr.write('no such thing') and 3)"))

    assert "no such thing" in str(caught.value)


def test_a_run_that_says_something_else_ends_the_benchmark(bench: Bench) -> None:
    with pytest.raises(BenchmarkFailed, match="and 'ready' on stdout"):
        bench.run(python("print('failed')", says="ready"))


def test_a_run_that_takes_too_long_is_killed_with_all_that_it_started(
    bench: Bench, tmp_path: Path
) -> None:
    """Both hold the write end of a pipe, which ends when neither is there any more."""
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    code = "import os, time; pipe = open('pipe', 'w'); os.fork(); time.sleep(600)"

    with pytest.raises(BenchmarkFailed, match="exit code -9"):
        bench.run(python(code, timeout=0.5))

    with os.fdopen(reader, "rb") as pipe:
        os.set_blocking(reader, True)
        assert pipe.read() == b""


def test_a_program_that_is_missing_is_named(bench: Bench) -> None:
    with pytest.raises(BenchmarkFailed, match="no-such-program was not found"):
        bench.run(Command(("no-such-program",)))


# What is made of it


def test_contenders_take_turns_and_the_first_round_is_not_counted() -> None:
    turns: list[str] = []

    def measured(name: str) -> Figures:
        turns.append(name)
        return {"wall": len(turns)}

    contenders = [Contender("a", lambda: measured("a")), Contender("b", lambda: measured("b"))]
    a, b = taken_in_turn(contenders, 2)

    assert "".join(turns) == "ababab"
    assert (a.all("wall"), b.all("wall")) == ([3, 5], [4, 6])


def test_ratios_and_differences_are_those_of_each_round() -> None:
    assert ratio(OURS, THEIRS, "wall") == Spread(1.5, 0.5, 2.0)
    assert difference(OURS, THEIRS, "wall") == Spread(1.0, -1.0, 3.0)


@pytest.mark.parametrize(
    ("goal", "met"),
    [
        (Goal("time", 0.9, 1.0), True),
        (Goal("time", 1.1, 1.0), False),
        (Goal("speed", 15.1, 15.0, at_least=True), True),
        (Goal("speed", 14.9, 15.0, at_least=True), False),
    ],
)
def test_a_goal_is_met_or_missed(goal: Goal, met: bool) -> None:
    assert goal.met == met


COMPARISON = Comparison(
    "A task",
    "What is done.",
    (OURS, THEIRS, Series("third", ({"wall": 1.0, "peak": 11e6},) * 3)),
    (Goal("ours, of theirs", 1.5, 1.0, "times"), Goal("ours", 3.0, 4.0, "s")),
    ("A note.",),
    ("theirs",),
)


def test_a_comparison_is_a_table_with_the_spread_of_times_and_ratios() -> None:
    assert section(COMPARISON).splitlines() == [
        "### A task",
        "",
        "What is done.",
        "",
        "|  | time | peak memory | of theirs |",
        "|---|---:|---:|---:|",
        "| ours | 3.00\u202fs (1.00-6.00) |  | 1.50 (0.50-2.00) |",
        "| theirs | 2.00\u202fs (2.00-3.00) |  | 1.00 (1.00-1.00) |",
        "| third | 1.00\u202fs (1.00-1.00) | 11\u202fMB | 0.50 (0.33-0.50) |",
        "",
        "A note.",
    ]


def test_the_goals_are_a_table_with_their_verdicts() -> None:
    said = goals([COMPARISON])

    assert "Met are 1 of 2." in said
    assert (
        "| A task | ours, of theirs | at most 1\u202ftimes | 1.5\u202ftimes | **missed** |" in said
    )
    assert "| A task | ours | at most 4\u202fs | 3\u202fs | met |" in said


def test_what_is_saved_is_what_is_loaded(tmp_path: Path) -> None:
    report = Report({"date": "2026-01-01"}, (COMPARISON,))
    report.saved(tmp_path / "results.json")

    assert Report.loaded(tmp_path / "results.json") == report


# What the hub does


def test_the_log_is_events_that_a_build_could_have() -> None:
    chunks, size = scripted.log(1000)

    assert 120_000 < size < 130_000
    lines = [line for line in chunks.split(b"\n") if line.startswith(b"data: ")]
    assert len(lines) == 1000
    assert all(json.loads(line[6:])["phase"] == "building" for line in lines)


def test_a_launch_is_a_log_and_then_ready_and_knows_when_it_came_to_that() -> None:
    block, _ = scripted.log(3)
    with ScriptedHub() as hub:
        told = scripted.launching(hub, "x", blocks=[block, block])
        before = time.monotonic()
        with urllib.request.urlopen(f"{hub.url}build/{scripted.SPEC}", timeout=20) as answer:
            events = [json.loads(line[6:]) for line in answer if line.startswith(b"data: ")]

    assert [each["phase"] for each in events] == ["building"] * 6 + ["ready"]
    assert (events[-1]["url"], events[-1]["token"]) == (told.url, scripted.TOKEN)
    assert before <= told.asked <= told.ready


def test_what_a_hub_sees_is_counted_in_requests_and_in_bytes_both_ways() -> None:
    request = b"GET /user/nobody/ HTTP/1.1\r\nHost: hub\r\n\r\n"
    answers: list[bytes] = []

    def played(hub: load.CountingHub) -> None:
        host, _, port = hub.origin.removeprefix("http://").partition(":")
        with socket.create_connection((host, int(port))) as client, client.makefile("rb") as file:
            client.sendall(request)
            answers.append(file.read())

    (figures,) = load.counted("one request", played).runs

    assert answers[0].startswith(b"HTTP/1.1 302 ")
    assert figures == {
        "builds": 0,
        "requests": 1,
        "received": len(request),
        "sent": len(answers[0]),
    }


# All of it


def benchmarks(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks", *arguments]
    env = {**os.environ, "PYTHONPATH": "tests"}
    return subprocess.run(
        command, cwd=page.ROOT, env=env, capture_output=True, text=True, timeout=100, check=False
    )


def test_a_comparison_runs_and_is_shown_and_saved(tmp_path: Path) -> None:
    """The one that takes no time: it counts the requests of sessions."""
    programs = str(Path(sys.executable).parent)
    ran = benchmarks("load", "--programs", programs, "--json", str(tmp_path / "results.json"))

    assert (ran.returncode, ran.stderr) == (0, "")
    assert "Met are 1 of 1." in ran.stdout
    saved = Report.loaded(tmp_path / "results.json")
    assert section(saved.comparisons[0]) in ran.stdout
    assert saved.machine["clinder"] == clinder.__version__


def test_what_cannot_be_run_is_told_in_a_line() -> None:
    ran = benchmarks("load", "--programs", "no-such-folder", "--runs", "0")

    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr.endswith("--runs is at least 1\n")


def test_the_page_shows_the_figures_that_are_saved() -> None:
    assert page.PAGE.read_text(encoding="utf-8") == page.written(), "type: make docs-tables"


def test_every_comparison_is_on_the_page() -> None:
    """A run of only some of them is not what the page shows."""
    titles = " ".join(one.title for one in Report.loaded(page.RESULTS).comparisons)

    for words in ("Launch", "Cold", "log", "Stop", "action", "load"):
        assert words in titles
