"""Real git histories, small ones, made for one test."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

_WHO = {
    f"GIT_{role}_{what}": value
    for role in ("AUTHOR", "COMMITTER")
    for what, value in (("NAME", "A"), ("EMAIL", "a@example.org"), ("DATE", "2026-01-01T00:00Z"))
}


class History:
    """A git repository in which each commit writes, links or removes files."""

    def __init__(self, path: Path, origin: str = "https://github.com/org/repo.git"):
        self.path = path
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(path.parent),
            "GIT_CONFIG_NOSYSTEM": "1",
            **_WHO,
        }
        self._commits = 0
        path.mkdir(exist_ok=True)
        self.git("init", "--quiet", "--initial-branch=main")
        self.git("remote", "add", "origin", origin)

    def git(self, *arguments: str) -> str:
        done = subprocess.run(
            ["git", "-c", "protocol.file.allow=always", "-C", str(self.path), *arguments],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.strip()

    @property
    def head(self) -> str:
        return self.git("rev-parse", "HEAD")

    def commit(self, files: Mapping[str, str | None] | None = None) -> str:
        """Commit files, ``None`` for one that goes; with none, some prose. Return the commit."""
        self._commits += 1
        for name, text in (files or {"index.md": f"Edition {self._commits}"}).items():
            file = self.path / name
            if text is None:
                file.unlink()
                continue
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
        return self.recorded()

    def link(self, name: str, target: str) -> str:
        """Commit a symbolic link."""
        file = self.path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.symlink_to(target)
        return self.recorded()

    def recorded(self) -> str:
        """Commit whatever the folder holds by now."""
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message=x")
        return self.head

    def branch(self, name: str, start: str) -> None:
        self.git("switch", "--quiet", "--create", name, start)

    def switch(self, name: str) -> None:
        self.git("switch", "--quiet", name)

    def merge(self, name: str) -> str:
        """Merge a branch as a forge does, never by fast-forward. Return the merge."""
        self.git("merge", "--quiet", "--no-ff", "--no-edit", name)
        return self.head

    def pushed(self) -> None:
        """Have origin's branch be this commit."""
        self.git("update-ref", "refs/remotes/origin/main", "HEAD")


def write_hanging_git(folder: Path) -> Path:
    """Write a ``git`` that never ends, in a folder for PATH; its process ID is in ``pid``."""
    program = folder / "hanging" / "git"
    program.parent.mkdir()
    program.write_text(
        '#!/bin/sh\necho $$ > "${0%git}pid.new"\n'
        '/bin/mv "${0%git}pid.new" "${0%git}pid"\nexec /bin/sleep 600\n'
    )
    program.chmod(0o755)
    return program
