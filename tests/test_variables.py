"""Variables for kernels: what is accepted, what is shown, and the code that sets them."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from clinder.errors import UsageError
from clinder.running.variables import MAX_SIZE, Variables, take_variables

VALUES = {
    "PLAIN": "secret",
    "QUOTES": 'it\'s "quoted" `here` \\ and $HOME ${HOME} $(id)',
    "LINES": "one\ntwo\r\n\tthree\n",
    "UTF8": "é 漢字 😀 \u2028",
    "EMPTY": "",
    "_LEADING": "x{y}",
}


def test_only_the_names_are_shown() -> None:
    variables = Variables({"TOKEN": "hunter2-secret"})
    assert variables.names == ("TOKEN",)
    assert "hunter2" not in f"{variables!r} {variables} {vars(variables).keys()}"


def test_the_environment_has_the_values_of_the_names() -> None:
    environ = {"A": "1", "B": "2", "C": "3"}
    assert take_variables(["A", "C"], environ).values == {"A": "1", "C": "3"}


def test_a_file_has_its_own_values_and_takes_bare_names_from_the_environment() -> None:
    assert take_variables([], {"B": "2"}, {"A": "1", "B": None}).values == {"A": "1", "B": "2"}


def test_a_name_on_the_command_line_takes_precedence_over_the_file() -> None:
    assert take_variables(["A"], {"A": "shell"}, {"A": "file"}).values == {"A": "shell"}


@pytest.mark.parametrize("file", [None, {"MISSING": None}])
def test_a_name_that_is_not_set_is_an_error(file: dict[str, str | None] | None) -> None:
    with pytest.raises(UsageError, match="The variable MISSING is not set"):
        take_variables([] if file else ["MISSING"], {}, file)


@pytest.mark.parametrize("name", ["", "A B", "1A", "A-B", "é", "A=hunter2", "A\n"])
def test_a_text_that_is_no_name_is_an_error_and_shows_no_value(name: str) -> None:
    with pytest.raises(UsageError, match="is not the name of a variable") as raised:
        take_variables([name], {name: "x"})
    assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize("value", ["a\0b", "x" * (MAX_SIZE + 1), "é" * (MAX_SIZE // 2 + 1)])
def test_a_value_that_no_kernel_accepts_is_an_error_without_the_value(value: str) -> None:
    with pytest.raises(UsageError) as raised:
        Variables({"A": value})
    assert value not in str(raised.value)


@pytest.mark.parametrize(
    ("value", "warning"),
    [
        (" x", "The value of A begins or ends with whitespace."),
        ("x\n", "The value of A begins or ends with whitespace."),
        ("", "The variable A is empty."),
    ],
)
def test_a_carelessly_pasted_value_is_a_warning(value: str, warning: str) -> None:
    assert Variables({"A": value}).warnings == (warning,)
    assert Variables({"A": "x y"}).warnings == ()


def test_an_unknown_language_has_no_code() -> None:
    assert Variables(VALUES).setup_code("bash") is None


def run(command: list[str], code: str) -> str:
    environ = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8"}
    return subprocess.run(
        [*command, code], env=environ, capture_output=True, check=True, encoding="utf-8"
    ).stdout


@pytest.mark.parametrize("name", VALUES)
def test_python_sets_exactly_the_value_and_prints_nothing(name: str) -> None:
    code = Variables(VALUES).setup_code("python")
    show = f"import os, sys; sys.stdout.reconfigure(newline=''); print(ascii(os.environ[{name!r}]))"
    assert run([sys.executable, "-c"], f"{code}\n{show}") == f"{VALUES[name]!a}\n"


def test_r_and_julia_get_bytes_so_that_no_value_is_code() -> None:
    values = {"A": os.fsdecode(b'\xc3\xa9"\xe9')}  # the last byte is not UTF-8
    assert Variables(values).setup_code("R") == (
        "base::Sys.setenv(`A` = rawToChar(as.raw(c(195, 169, 34, 233))))"
    )
    assert Variables(values).setup_code("julia") == (
        'ENV["A"] = String(UInt8[195, 169, 34, 233]); nothing'
    )
