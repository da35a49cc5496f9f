"""The report says what ran, in JSON for programs and in a few lines for people."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from clinder import __version__
from clinder.errors import UsageError
from clinder.gateway.closing import (
    MAX_PAGES,
    closing_lines,
    describe_failure,
    describe_memory,
    format_seconds,
)
from clinder.gateway.metrics import Sample, Usage, parse_metrics
from clinder.gateway.report import CellError, Kernel, Report, Resources, SlowCell
from reports import DIED, FAILED, GIB, GOOD, NEVER_READY, WHOLE


def test_a_report_is_one_line_of_json_with_its_version() -> None:
    text = WHOLE.to_json()
    data = json.loads(text)

    assert "\n" not in text
    assert data["version"] == 1
    assert data["clinder"] == __version__
    assert data["launch"]["phases"] == {"building": 61.25, "readiness": 2.0}
    assert data["launch"]["seconds"] == 63.25
    assert data["kernels"][1]["errors"][0] == {
        "cell": 2,
        "kind": "cell",
        "name": "ValueError",
        "text": "allowed",
        "followed": True,
    }
    assert data["command"] == {"exit_code": 1, "seconds": 3800.123}
    assert data["problem"]["exit_code"] == 10


@pytest.mark.parametrize("report", [Report(), WHOLE], ids=["empty", "whole"])
def test_a_report_is_read_again(report: Report) -> None:
    read = Report.from_json(report.to_json())

    assert Report.from_json(read.to_json()) == read
    assert read.kernels == report.kernels
    assert read.launch == report.launch


def test_a_report_contains_no_token() -> None:
    assert "secret-token" not in WHOLE.to_json()
    assert "token" not in WHOLE.to_json()


def test_a_reader_ignores_fields_that_it_does_not_know() -> None:
    data = {"version": 1, "new": {}, "kernels": [{"page": "a", "new": 1, "seconds": 1}]}

    assert Report.from_json(json.dumps(data)).kernels == (Kernel("a", seconds=1.0),)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"version": 2}',
        '{"version": 1, "kernels": {}}',
        '{"version": 1, "kernels": [1]}',
        '{"version": 1, "kernels": [{"cells": "1"}]}',
        '{"version": 1, "kernels": [{"cells": true}]}',
        '{"version": 1, "kernels": [{"errors": [{"cell": 1}]}]}',
        '{"version": 1, "launch": {"phases": []}}',
        '{"version": 1, "launch": {"phases": {"a": "b"}}}',
        '{"version": 1, "clinder": null}',
        '{"version": 1, "kernels": [{"seconds": NaN}]}',
        '{"version": 1, "kernels": [{"seconds": -Infinity}]}',
        '{"version": 1, "kernels": [{"seconds": 1' + 400 * "0" + "}]}",
    ],
)
def test_anything_else_is_no_report(text: str) -> None:
    with pytest.raises(UsageError, match="not a report"):
        Report.from_json(text)


def test_a_page_failed_if_no_cell_followed_its_last_error_or_its_kernel_never_responded() -> None:
    assert WHOLE.failed == (FAILED, DIED, NEVER_READY)


# For people


def test_the_closing_lines_say_what_failed_and_what_was_slow() -> None:
    first, *rest = closing_lines(WHOLE)

    assert first == (
        "4 pages with 11 cells ran on the session; the cells took 1 h 2 min, and at most 5.1 of "
        "8.0 GiB (64%) of memory."
    )
    assert rest == [
        "3 pages ended with an error:",
        "  failed.ipynb, cell 7: NameError: name 'x' is not defined",
        "  died.md, an expression after cell 1: KernelDied: The kernel died.",
        "  never.ipynb: The kernel did not respond within 300 s.",
        "1 page went on after an error:",
        "  failed.ipynb, cell 2: ValueError",
        "1 page might lack output, because the connection to the session broke meanwhile:",
        "  died.md, cells 1, 2, 3, 4, 5, …",
        "1 page printed more than the session's server passes on:",
        "  died.md, cell 1",
        "Slowest: failed.ipynb, cell 6 (1 h 0 min); failed.ipynb, cell 5 (1 min 1 s).",
    ]


def test_one_good_page_takes_one_line() -> None:
    kernel = replace(GOOD, cells=1, seconds=0.2)

    assert closing_lines(Report(kernels=(kernel,))) == [
        "1 page with 1 cell ran on the session; the cells took 0 s."
    ]


def test_no_kernel_needs_no_lines() -> None:
    assert closing_lines(Report()) == []


def test_only_some_of_many_pages_are_named() -> None:
    kernels = tuple(replace(FAILED, page=f"{number}.ipynb") for number in range(25))
    lines = closing_lines(Report(kernels=kernels))

    assert lines[0].startswith("25 pages")
    assert lines[2 + MAX_PAGES] == "  … and 15 more"
    assert len(lines) < 30


def test_foreign_text_stays_on_one_short_line() -> None:
    error = CellError(1, "cell", "Error", "one\ntwo" + "x" * 900)
    kernel = replace(GOOD, page="a\x1b[31m\nb", errors=(error,))

    line = describe_failure(kernel)
    assert line.startswith("a b, cell 1: Error: one two")
    assert len(line) == 200


def test_a_page_without_a_name_has_one_in_the_lines() -> None:
    kernel = Kernel(errors=(CellError(1, "cell", "Error", ""),), slowest=(SlowCell(1, 99),))

    assert describe_failure(kernel) == "a notebook without a name, cell 1: Error"
    assert "a notebook without a name" in closing_lines(Report(kernels=(kernel,)))[-1]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (59.4, "59 s"), (59.6, "1 min 0 s"), (3599, "59 min 59 s"), (7260, "2 h 1 min")],
)
def test_durations_are_easy_to_read(seconds: float, text: str) -> None:
    assert format_seconds(seconds) == text


@pytest.mark.parametrize(
    ("resources", "text"),
    [
        (None, ""),
        (Resources(), ""),
        (Resources(GIB), "1.0 GiB"),
        (Resources(GIB, 4 * GIB), "1.0 of 4.0 GiB (25%)"),
    ],
)
def test_memory_is_shown_as_far_as_it_is_known(resources: Resources | None, text: str) -> None:
    assert describe_memory(resources) == text


# What the server measures

METRICS = {
    "rss": 3 * GIB,
    "pss": 2 * GIB,
    "limits": {"memory": {"rss": 8 * GIB, "pss": 8 * GIB, "warn": False}},
    "cpu_percent": 120.5,
    "cpu_count": 4,
}


@pytest.mark.parametrize(
    ("data", "sample"),
    [
        (METRICS, Sample(2 * GIB, 8 * GIB, 120.5, 4)),
        ({"rss": 1, "limits": {"memory": {"rss": 2}}}, Sample(1, 2)),
        ({"rss": 1, "limits": {"memory": {"rss": 0}}}, Sample(1)),
        ({"rss": 1, "limits": {}}, Sample(1)),
        ({"rss": 1, "limits": [], "cpu_percent": "x", "cpu_count": True}, Sample(1)),
        ({"rss": float("nan"), "pss": 2**80}, None),
        ({"rss": -1}, None),
        ({}, None),
    ],
)
def test_the_servers_metrics_are_read(data: dict[str, object], sample: Sample | None) -> None:
    assert parse_metrics(data) == sample


def test_the_peaks_of_all_measurements_are_reported() -> None:
    usage = Usage()
    assert usage.report() is None
    assert usage.explain() == ""
    usage.add(Sample(3 * GIB, 4 * GIB))
    usage.add(Sample(2 * GIB, 4 * GIB, 90.0, 4))
    usage.add(Sample(GIB, 0, 50.0, 4))

    assert usage.report() == Resources(3 * GIB, 4 * GIB, 90.0, 4)
    assert usage.explain() == ""


@pytest.mark.parametrize(("memory", "is_short"), [(3.88, True), (3.5, False)])
def test_memory_that_was_nearly_used_up_is_a_likely_cause(memory: float, is_short: bool) -> None:
    usage = Usage()
    usage.add(Sample(int(memory * GIB), 4 * GIB))

    assert usage.is_short == is_short
    share = f"{memory / 4:.0%}"
    assert usage.explain() == f"The session last used {share} of its memory of 4.0 GiB."
