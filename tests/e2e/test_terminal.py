"""The display on a terminal, and Ctrl-C there."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from answers import Answer, Ending, event, ready
from e2e.terminal import CTRL_C, Terminal
from e2e.world import CLINDER, World, until
from hubs import Jupyter, ScriptedHub

pytestmark = pytest.mark.posix

START = [*CLINDER, "start", "--hub", "local", "--no-warm-up"]
LAUNCHING = "launching  0:0"
TOKEN = "s3cret"
COMMIT = "1f" * 20


def read_uri(world: World, terminal: Terminal) -> str:
    """Read the URI from the piped stdout of a terminal's command."""
    assert terminal.process.stdout
    uri = terminal.process.stdout.readline().strip()
    world.tokens.append(uri.partition("token=")[2])
    return uri


def test_one_line_is_redrawn_and_removed_at_the_end(world: World) -> None:
    """On a terminal of the usual width and on one narrower than the line, at once to save time."""
    terminals = [
        Terminal(world, START, columns=columns, stdout=subprocess.PIPE) for columns in (80, 40)
    ]
    for terminal in terminals:
        terminal.read_until(LAUNCHING)
        assert not terminal.cursor
        (line,) = terminal.lines
        assert line.startswith(LAUNCHING)
    uris = [read_uri(world, terminal) for terminal in terminals]
    for terminal in terminals:
        assert terminal.finish() == 0
        messages = "".join(terminal.lines)  # a long line is wrapped
        assert re.match(r"clinder: The session is ready after \d+ s\.clinder: ", messages)
        assert terminal.cursor
        assert "Built image" not in terminal.drawn.split(LAUNCHING)[1]
    assert world.run("stop", "-", "-q", stdin_text="\n".join(uris)).code == 0


@pytest.mark.parametrize(
    ("arguments", "use", "stop"),
    [
        ([], "open the URI in a browser", "clinder stop -, which reads the URI: paste it, and"),
        (["-o", "shell"], "clinder exec SCRIPT", "clinder stop"),
        (
            ["--session-file", "my session.json"],
            "clinder exec --session-file 'my session.json' SCRIPT",
            "clinder stop --session-file 'my session.json'",
        ),
    ],
)
def test_a_person_reads_what_runs_where_and_how_to_use_and_stop_it(
    world: World, arguments: list[str], use: str, stop: str
) -> None:
    with ScriptedHub() as hub:
        terminal = start_scripted(world, hub, *arguments)
        *_, what, where, used, stopped = terminal.lines
    assert what == f"clinder: gh/o/r/{COMMIT} is running."
    assert where == f"  where:       {hub.origin}/user/x/, on {hub.url}"
    assert used == f"  how to use:  {use}"
    assert stopped.startswith(f"  how to stop: {stop}")
    assert TOKEN not in terminal.drawn


@pytest.mark.parametrize(("arguments", "is_shown"), [([], True), (["-q"], False)])
def test_advice_is_shown_on_a_dumb_terminal_but_not_with_quiet(
    world: World, arguments: list[str], is_shown: bool
) -> None:
    world.variables["TERM"] = "dumb"
    with ScriptedHub() as hub:
        terminal = start_scripted(world, hub, *arguments)
    assert ("  how to stop: clinder stop -" in terminal.drawn) == is_shown


def start_scripted(world: World, hub: ScriptedHub, *arguments: str) -> Terminal:
    """Start a session, its output in a pipe, on a terminal wide enough for each line."""
    url = hub.serve("x", Jupyter(TOKEN))
    hub.then(Answer(ready(url, TOKEN, binder_persistent_request=f"v2/gh/o/r/{COMMIT}")))
    command = [*CLINDER, "start", "o/r", "--hub", hub.url, "--no-warm-up", *arguments]
    terminal = Terminal(world, command, columns=200, stdout=subprocess.PIPE)
    assert terminal.finish() == 0
    return terminal


def test_a_launch_on_demand_redraws_nothing_because_the_command_writes_there_too(
    world: World,
) -> None:
    command = [*CLINDER, "run", "--hub", "local", "--no-warm-up", "--lazy", "--"]
    terminal = Terminal(world, [*command, *CLINDER, "exec", "-c", "print(6 * 7)"], columns=200)
    assert terminal.finish() == 0
    assert "\x1b" not in terminal.drawn
    assert "This is clinder's embedded hub" not in terminal.drawn, "a line of the hub's log"
    first, ready = terminal.drawn.index("Running "), terminal.drawn.index("The session is ready")
    assert first < ready < terminal.drawn.index("\n42")


def test_a_launch_is_announced_before_the_wire_is_imported(world: World) -> None:
    command = [sys.executable, "-X", "importtime", *CLINDER[1:]]
    terminal = Terminal(
        world,
        [*command, "start", "o/r", "--attempts", "1", "--hub", "http://127.0.0.1:1"],
        columns=200,
    )
    assert terminal.finish() == 6
    before, _ = re.split(r"\| +requests\r\n", terminal.drawn, maxsplit=1)
    assert "Launching gh/o/r/HEAD on http://127.0.0.1:1/." in before


@pytest.mark.parametrize("variables", [{"TERM": "dumb"}, {"NO_COLOR": "1"}])
def test_a_dumb_terminal_and_no_color_are_respected(
    world: World, variables: dict[str, str]
) -> None:
    command = [*CLINDER, "start", "o/r", "--attempts", "1", "--hub", "http://127.0.0.1:1"]
    world.variables |= variables
    terminal = Terminal(world, command)
    assert terminal.finish() == 6
    assert "connection refused" in " ".join(terminal.lines)
    if "TERM" in variables:
        assert "\x1b" not in terminal.drawn
    assert "m" not in [match[-1] for match in terminal.sequences], "no colours"


def test_a_second_interrupt_ends_a_launch_immediately(world: World) -> None:
    """Until then, the terminal shows that clinder is cancelling the launch."""
    with ScriptedHub(Answer(event(phase="launching", message="…"), ending=Ending.HELD)) as hub:
        terminal = Terminal(world, [*CLINDER, "start", "o/r", "--hub", hub.url])
        terminal.read_until(LAUNCHING)
        terminal.type(CTRL_C)
        terminal.read_until("cancelling  0:0")
        terminal.read_until("press Ctrl-C again to quit now")
        terminal.type(CTRL_C)
        assert terminal.finish() == 130
    assert terminal.cursor


def test_one_interrupt_cancels_a_launch_and_restores_the_terminal(world: World) -> None:
    terminal = Terminal(world, START)
    terminal.read_until(LAUNCHING)
    terminal.type(CTRL_C)
    assert terminal.finish() == 130
    assert terminal.cursor
    assert terminal.lines[-1] == "clinder: Cancelled by SIGINT."
    assert not any(line.startswith("launching") for line in terminal.lines)
    until(lambda: not world.servers())


COUNT = """
import signal
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT, signal.SIGTERM])
print("ready", flush=True)
signal.sigwait([signal.SIGINT])
print("interrupted", flush=True)
signal.sigwait([signal.SIGTERM])
print("again:", signal.sigtimedwait([signal.SIGINT], 0.3), flush=True)
"""


def test_an_interrupt_reaches_the_command_exactly_once(world: World) -> None:
    run = [*CLINDER, "run", "--hub", "local", "-q", "--", sys.executable, "-c", COUNT]
    terminal = Terminal(world, run)
    terminal.read_until("ready\r\n")
    terminal.type(CTRL_C)
    terminal.read_until("interrupted")
    terminal.read_until("Waiting for the command to end")
    (command,) = (each for each in world.processes(COUNT) if "clinder" not in each.cmdline())
    command.send_signal(signal.SIGTERM)
    assert terminal.finish() == 0
    assert "again: None" in terminal.lines


IGNORE = """
import signal, time
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
print("ready", flush=True)
signal.sigwait([signal.SIGINT])
time.sleep(0.5)
print("done", flush=True)
"""


def test_a_command_that_handles_an_interrupt_can_continue(world: World) -> None:
    """On a terminal, an interactive program decides whether Ctrl-C ends it."""
    driver = str(Path(__file__).with_name("driver.py"))
    command = [sys.executable, driver, '{"cancel": 0.1}', sys.executable, "-c", IGNORE]
    terminal = Terminal(world, command)
    terminal.read_until("ready\r\n")
    terminal.type(CTRL_C)
    assert terminal.finish() == 0
    assert "Waiting for the command to end. Press Ctrl-C again to kill it." in terminal.drawn
    assert "done" in terminal.lines


def test_two_interrupts_kill_the_command_and_its_children(world: World) -> None:
    child = str(Path(__file__).with_name("child.py"))
    script = f"trap '' INT; {sys.executable} {child} ignore & wait"
    terminal = Terminal(world, [*CLINDER, "run", "--hub", "local", "--", "sh", "-c", script])
    terminal.read_until("ready\r\n")
    terminal.type(CTRL_C)
    terminal.read_until("Waiting for the command to end")
    terminal.type(CTRL_C)
    assert terminal.finish() == 130
    assert terminal.lines[-1] == "clinder: The session is stopped."
    until(lambda: not world.processes())


def test_closing_the_terminal_ends_the_command_and_the_session(world: World) -> None:
    run = [*CLINDER, "run", "--hub", "local", "--", sys.executable, "-c", "input('ready')"]
    terminal = Terminal(world, run)
    terminal.read_until("ready")
    terminal.close()
    terminal.process.wait(60)
    until(lambda: not world.processes())


def test_untrusted_text_cannot_control_the_terminal(world: World) -> None:
    code = "print('a\\x1b[2Jb\\x1b]0;title\\x07c\\x9b31md', end=''); raise ValueError('\\x1b[2J')"
    run = [*CLINDER, "run", "--hub", "local", "-q", "--", *CLINDER, "exec", "-c", code]
    terminal = Terminal(world, run)
    assert terminal.finish() == 1
    assert "\x1b" not in terminal.drawn
    assert "\x9b" not in terminal.drawn
    assert terminal.lines[0].startswith("abc")
