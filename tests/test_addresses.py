"""Addresses in environment files: those of the repository itself, and others that can change."""

from __future__ import annotations

import pytest

from clinder.checkout.addresses import Own, find_moving
from clinder.repository import Repository

COMMIT = "0123456789abcdef" * 2 + "01234567"
OWN = Own.of(
    [
        Repository("gh", "Org/Repo"),
        Repository("gh", "them/fork"),
        Repository("gl", "group/sub/project"),
        Repository("gist", "user/0123456789abcdef0123456789abcdef"),
        Repository("git", "https://git.example.org/lab/book.git"),
        Repository("git", "https://git.example.org/notes"),
        Repository("gh", "lab/lab.github.io"),
    ]
)


@pytest.mark.parametrize(
    "line",
    [
        "git+https://github.com/org/repo",
        "git+https://github.com/org/repo.git@main#egg=repo",
        "repo @ git+ssh://git@github.com/ORG/Repo.git@v1.0",
        'remotes::install_github("org/repo")',
        'install_github("org/repo@main")',
        "RUN git clone --depth 1 git@github.com:org/repo.git",
        "FROM ghcr.io/org/repo",
        "FROM ghcr.io/org/repo:2024-01-01 AS base",
        "COPY --from=ghcr.io/org/repo/base:v1 /srv /srv",
        "-c https://raw.githubusercontent.com/org/repo/main/constraints.txt",
        "https://github.com/org/repo/releases/latest/download/repo.tar.gz",
        "https://github.com/org/repo/archive/refs/heads/main.zip",
        "https://codeload.github.com/org/repo/zip/main",
        "https://cdn.jsdelivr.net/gh/org/repo@latest/requirements.txt",
        "https://api.github.com/repos/org/repo/tarball",
        "https://org.github.io/repo/wheels/",
        "https://group.gitlab.io/sub/project/simple",
        "https://lab.github.io/wheels/",
        "https://gitlab.com/group/sub/project/-/raw/main/r.txt",
        "https://gitlab.example.org/api/v4/projects/group%2Fsub%2Fproject/packages/pypi/simple",
        "https://gist.githubusercontent.com/user/0123456789abcdef0123456789abcdef/raw/r.txt",
        "https://git.example.org/lab/book/raw/main/x",
        "https://git.example.org/notes/raw/main/x",
        'X = {url = "https://github.com/them/fork.git"}',
        "git+https://github.com/org/repo  # once pinned: 0123456789abcdef0123456789abcdef01234567",
        f"git+https://github.com/org/repo@{COMMIT} git+https://github.com/org/repo@main",
    ],
)
def test_an_address_of_the_repository_is_found(line: str) -> None:
    assert OWN.find(f"numpy\n{line}\nscipy\n") in (line, line.partition("  #")[0] + " ")


@pytest.mark.parametrize(
    "line",
    [
        "git+https://github.com/org/other",
        "git+https://github.com/org/repository",
        "git+https://github.com/org/repo-extras",
        "git+https://github.com/org/repo.js",
        "git+https://github.com/my-org/repo",
        "https://example.org/repo",
        "https://other.github.io/repo/",
        "https://org.github.io/other/",
        "FROM ghcr.io/org/repo-base:latest",
        "https://git.example.org/other/notes",
        "# git+https://github.com/org/repo",
        "numpy  # see https://github.com/org/repo",
        f"git+https://github.com/org/repo@{COMMIT}",
        f"-c https://raw.githubusercontent.com/org/repo/{COMMIT}/constraints.txt",
        f"https://github.com/org/repo/archive/{COMMIT}.zip",
        f"FROM ghcr.io/org/repo@sha256:{'0a' * 32}",
    ],
)
def test_another_repository_a_comment_or_a_fixed_commit_is_no_such_address(line: str) -> None:
    assert OWN.find(f"{line}\n") == ""


def test_a_repository_without_a_name_has_no_address() -> None:
    assert Own().find("git+https://github.com/org/repo\n") == ""


def test_packages_are_those_of_the_repositories_names_and_others() -> None:
    own = Own.of([Repository("gh", "org/My_Book.jl")], ["Other.Name"])

    assert own.packages == {"my-book", "other-name"}


@pytest.mark.parametrize(
    ("line", "addresses"),
    [
        ("git+https://github.com/x/y@main", ["git+https://github.com/x/y@main"]),
        (
            "y @ git+ssh://git@github.com/x/y ; python_version > '3'",
            ["git+ssh://git@github.com/x/y"],
        ),
        (f"git+https://github.com/x/y@{COMMIT}", []),
        ("--extra-index-url https://pypi.example.org/simple", ["https://pypi.example.org/simple"]),
        ("--index-url https://pypi.org/simple", []),
        ('install_github("x/y")', ["x/y"]),
        (f'install_github("x/y@{COMMIT}")', []),
        ("FROM quay.io/x/y", ["quay.io/x/y"]),
        ("from --platform=linux/amd64 x:latest AS y", ["x:latest"]),
        ("FROM localhost:5000/x", ["localhost:5000/x"]),
        ("FROM quay.io/x/y:2024-01-01", []),
        (f"FROM x@sha256:{'0a' * 32}", []),
        ("FROM scratch", []),
        ("FROM $BASE", []),
        ("numpy  # https://example.org", []),
    ],
)
def test_moving_addresses_name_no_commit_version_or_hash(line: str, addresses: list[str]) -> None:
    assert list(find_moving(f"{line}\nnumpy\n")) == addresses
