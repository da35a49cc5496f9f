"""The benchmarks: what they measure, how they compare it, and the page that shows it."""

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
    measure_in_turns,
    ratio,
)
from benchmarks.report import Comparison, Goal, Report, goals, section
from hubs import ScriptedHub

pytestmark = pytest.mark.posix

OURS = Series("ours", ({"wall": 1.0}, {"wall": 6.0}, {"wall": 3.0}))
THEIRS = Series("theirs", ({"wall": 2.0}, {"wall": 3.0}, {"wall": 2.0}))


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with Bench(tmp_path, Path(sys.executable).parent) as running:
        yield running


def python(code: str, **settings: object) -> Command:
    return Command((sys.executable, "-I", "-S", "-c", code), **settings)  # type: ignore[arg-type]


# Measuring


def test_elapsed_time_cpu_time_and_memory_are_those_of_the_command(bench: Bench) -> None:
    ballast = bytearray(b"x" * 100_000_000)
    asleep = bench.run(python("import time; time.sleep(0.2)"))
    busy = bench.run(python("bytearray(80_000_000).count(1); sum(range(3_000_000))"))

    assert asleep.end - asleep.start > 0.2
    assert asleep.cpu < min(asleep.figures["wall"], busy.cpu)
    assert 50e6 < busy.peak - asleep.peak < 110e6
    assert asleep.peak < len(ballast)  # the memory of this process does not count


def test_a_command_does_not_inherit_our_environment(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OURS", "1")
    code = "import os; print(os.environ.get('OURS'), os.environ['THEIRS'])"

    bench.run(python(code, env={"THEIRS": "2"}, expected="None 2"))


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (python("import sys; sys.exit(sys.stderr.write('a reason') and 3)"), "code 3.*\na reason"),
        (python("print('failed')", expected="ready"), "and 'ready' on stdout"),
        (Command(("no-such-program",)), "no-such-program was not found"),
    ],
)
def test_an_unexpected_result_fails_the_benchmark(
    bench: Bench, command: Command, message: str
) -> None:
    with pytest.raises(BenchmarkFailed, match=message):
        bench.run(command)


def test_a_run_that_takes_too_long_is_killed_with_its_children(
    bench: Bench, tmp_path: Path
) -> None:
    """Both hold the write end of a pipe, which ends when both are gone."""
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    code = "import os, time; pipe = open('pipe', 'w'); os.fork(); time.sleep(600)"

    with pytest.raises(BenchmarkFailed, match="exit code -9"):
        bench.run(python(code, timeout=0.5))

    with os.fdopen(reader, "rb") as pipe:
        os.set_blocking(reader, True)
        assert pipe.read() == b""


# Comparing


def test_contenders_take_turns_and_the_first_round_does_not_count() -> None:
    turns: list[str] = []

    def measure(name: str) -> Figures:
        turns.append(name)
        return {"wall": len(turns)}

    contenders = [Contender("a", lambda: measure("a")), Contender("b", lambda: measure("b"))]
    a, b = measure_in_turns(contenders, 2)

    assert "".join(turns) == "ababab"
    assert (a.all("wall"), b.all("wall")) == ([3, 5], [4, 6])


def test_ratios_and_differences_are_computed_for_each_round() -> None:
    assert ratio(OURS, THEIRS, "wall") == Spread(1.5, 0.5, 2.0)
    assert difference(OURS, THEIRS, "wall") == Spread(1.0, -1.0, 3.0)


COMPARISON = Comparison(
    "A task",
    "What is done.",
    (OURS, THEIRS, Series("third", ({"wall": 1.0, "peak": 11e6},) * 3)),
    (
        Goal("ours", 1.5, 1.0, "\u00d7"),
        Goal("theirs", 3.0, 4.0, "s"),
        Goal("speed", 14.9, 15.0, at_least=True),
    ),
    ("A note.",),
    ("theirs",),
)


def test_a_comparison_is_a_table_with_the_spread_of_times_and_ratios() -> None:
    assert section(COMPARISON).splitlines() == [
        "### A task",
        "",
        "What is done.",
        "",
        "|  | time | peak memory | relative to theirs |",
        "|---|---:|---:|---:|",
        "| ours | 3.00\u202fs (1.00-6.00) |  | 1.50 (0.50-2.00) |",
        "| theirs | 2.00\u202fs (2.00-3.00) |  | 1.00 (1.00-1.00) |",
        "| third | 1.00\u202fs (1.00-1.00) | 11\u202fMB | 0.50 (0.33-0.50) |",
        "",
        "A note.",
    ]


def test_goals_are_a_table_that_shows_which_are_met() -> None:
    text = goals([COMPARISON])

    assert "1 of 3 goals are met." in text
    assert "| A task | ours | at most 1\u202f\u00d7 | 1.5\u202f\u00d7 | **missed** |" in text
    assert "| A task | theirs | at most 4\u202fs | 3\u202fs | met |" in text
    assert "| A task | speed | at least 15 | 14.9 | **missed** |" in text


def test_a_saved_report_can_be_loaded(tmp_path: Path) -> None:
    report = Report({"date": "2026-01-01"}, (COMPARISON,))
    report.save(tmp_path / "results.json")

    assert Report.load(tmp_path / "results.json") == report


# The hub


def test_a_launch_is_a_build_log_followed_by_ready() -> None:
    block, size = scripted.build_log(3)
    with ScriptedHub() as hub:
        launch = scripted.serve_launch(hub, "x", blocks=[block, block])
        before = time.monotonic()
        with urllib.request.urlopen(f"{hub.url}build/{scripted.SPEC}", timeout=20) as response:
            lines = [line for line in response if line.startswith(b"data: ")]

    events = [json.loads(line[6:]) for line in lines]
    assert [each["phase"] for each in events] == ["building"] * 6 + ["ready"]
    assert size == sum(map(len, lines[:3])) + 3 * len(b"\n\n")
    assert (events[-1]["url"], events[-1]["token"]) == (launch.url, scripted.TOKEN)
    assert before <= launch.requested <= launch.ready


def test_requests_and_bytes_in_both_directions_are_counted() -> None:
    request = b"GET /user/nobody/ HTTP/1.1\r\nHost: hub\r\n\r\n"
    responses: list[bytes] = []

    def play(hub: load.CountingHub) -> None:
        host, _, port = hub.origin.removeprefix("http://").partition(":")
        with socket.create_connection((host, int(port))) as client, client.makefile("rb") as file:
            client.sendall(request)
            responses.append(file.read())

    (figures,) = load.count("one request", play).runs

    assert responses[0].startswith(b"HTTP/1.1 302 ")
    assert figures == {
        "builds": 0,
        "requests": 1,
        "received": len(request),
        "sent": len(responses[0]),
    }


# The command and the page


def test_a_comparison_runs_and_is_printed_and_saved(tmp_path: Path) -> None:
    """``load`` only counts requests, so it is quick."""
    programs = str(Path(sys.executable).parent)
    result = subprocess.run(
        [
            *(sys.executable, "-m", "benchmarks", "load"),
            *("--programs", programs, "--json", str(tmp_path / "results.json")),
        ],
        cwd=page.ROOT,
        env={**os.environ, "PYTHONPATH": "tests"},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )

    assert (result.returncode, result.stderr) == (0, "")
    assert "1 of 1 goals are met." in result.stdout
    saved = Report.load(tmp_path / "results.json")
    assert section(saved.comparisons[0]) in result.stdout
    assert saved.machine["clinder"] == clinder.__version__


def test_the_page_shows_the_saved_figures() -> None:
    assert page.PAGE.read_text(encoding="utf-8") == page.render(), "run: make docs-tables"
