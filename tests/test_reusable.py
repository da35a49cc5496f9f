"""``tools/reusable.py`` counts the pushes that could have reused an image."""

from __future__ import annotations

from pathlib import Path

import pytest

from histories import History
from reusable import main

ENVIRONMENT = {"environment.yml": "dependencies: [numpy]\n"}
OTHER = {"environment.yml": "dependencies: [scipy]\n"}
Capture = pytest.CaptureFixture[str]


@pytest.fixture
def book(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> History:
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    return History(tmp_path / "book")


def report(history: History, capsys: Capture, *options: str) -> str:
    assert main([str(history.path), *options]) == 0
    return capsys.readouterr().out


def test_every_push_but_the_first_of_an_environment_counts(book: History, capsys: Capture) -> None:
    for files in (ENVIRONMENT, None, None, OTHER, None, ENVIRONMENT):
        book.commit(files)

    assert report(book, capsys) == (
        "3 of 6 pushes (50 %) could have reused an image; 3 brought a new environment.\n"
    )


def test_a_merge_is_one_push(book: History, capsys: Capture) -> None:
    first = book.commit(ENVIRONMENT)
    book.branch("topic", first)
    for name in "abc":
        book.commit({f"{name}.md": "x"})
    book.switch("main")
    book.merge("topic")

    assert report(book, capsys).startswith("1 of 2 pushes (50 %)")


def test_only_the_last_pushes_count_but_earlier_ones_might_have_built_the_image(
    book: History, capsys: Capture
) -> None:
    for files in (ENVIRONMENT, None, None, OTHER, None):
        book.commit(files)

    assert report(book, capsys, "--last", "1").startswith("1 of 1 pushes (100 %)")
    assert report(book, capsys, "--last=3") == (
        "2 of 3 pushes (67 %) could have reused an image; 1 brought a new environment.\n"
    )
    assert report(book, capsys, "--commit=HEAD~2").startswith("2 of 3 pushes")


def test_refused_pushes_are_counted_by_reason(book: History, capsys: Capture) -> None:
    dockerfile = {"environment.yml": None, "Dockerfile": "FROM a\nCOPY . .\n"}
    for files in (ENVIRONMENT, None, dockerfile, None, None):
        book.commit(files)
    book.commit({"binder/apt.txt": "", ".binder/apt.txt": ""})
    own = {".binder/apt.txt": None, "binder/requirements.txt": "git+https://github.com/org/repo\n"}
    book.commit(own)
    book.commit()

    assert report(book, capsys).split("\n") == [
        "1 of 8 pushes (12 %) could have reused an image; 4 brought a new environment.",
        "2 could not: Dockerfile has the line `COPY . .`, which might read the repository.",
        (
            "1 could not: requirements.txt has the line `git+https://github.com/org/repo`, which"
            " refers to this repository itself."
        ),
        "",
    ]


def test_an_incomplete_history_is_an_error(book: History, tmp_path: Path, capsys: Capture) -> None:
    book.commit(ENVIRONMENT)
    book.commit()
    shallow = History(tmp_path / "shallow")
    shallow.git("fetch", "--quiet", "--depth=1", book.path.as_uri(), "main")
    shallow.git("reset", "--quiet", "--hard", "FETCH_HEAD")

    assert main([str(shallow.path)]) == 2
    assert "This clone is shallow" in capsys.readouterr().err
    assert main([str(tmp_path / "none")]) == 2
    assert "No such file or directory" in capsys.readouterr().err
