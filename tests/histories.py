"""Small git repositories for the tests."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path

_AUTHOR = {
    f"GIT_{role}_{what}": value
    for role in ("AUTHOR", "COMMITTER")
    for what, value in (("NAME", "A"), ("EMAIL", "a@example.org"), ("DATE", "2026-01-01T00:00Z"))
}


class History:
    """A git repository in which each commit writes, links or removes files."""

    def __init__(self, path: Path, origin: str = "https://github.com/org/repo.git"):
        self.path = path
        self.environ = {
            **{name: os.environ[name] for name in ("PATH", "SYSTEMROOT") if name in os.environ},
            "HOME": str(path.parent),
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_CONFIG_NOSYSTEM": "1",
            **_AUTHOR,
        }
        self._commits = 0
        path.mkdir(exist_ok=True)
        self.git("init", "--quiet", "--initial-branch=main")
        self.git("remote", "add", "origin", origin)

    def git(self, *arguments: str) -> str:
        done = subprocess.run(
            ["git", "-c", "protocol.file.allow=always", "-C", str(self.path), *arguments],
            env=self.environ,
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

    def commit(self, files: Mapping[str, str | None] | None = None, *, date: str = "") -> str:
        """Commit files, by default some prose; ``None`` deletes a file. Return the SHA."""
        self._commits += 1
        if date:
            self.environ["GIT_COMMITTER_DATE"] = f"{date}T00:00Z"
        for name, text in (files or {"index.md": f"Edition {self._commits}"}).items():
            file = self.path / name
            if text is None:
                file.unlink()
                continue
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
        return self.commit_all()

    def import_commits(self, states: Iterable[Mapping[str, str]]) -> list[str]:
        """Commit each of these states of all files, without touching the folder."""
        stream = [b"reset refs/heads/main\n"]
        for number, files in enumerate(states):
            stream += [
                f"commit refs/heads/main\ncommitter A <a@example.org> {number} +0000\n".encode(),
                b"data 0\ndeleteall\n",
            ]
            for name, text in files.items():
                data = text.encode()
                stream += [f'M 644 inline "{name}"\ndata {len(data)}\n'.encode(), data, b"\n"]
        command = ["git", "-C", str(self.path), "fast-import", "--quiet"]
        subprocess.run(command, env=self.environ, input=b"".join(stream), check=True)
        return self.git("rev-list", "--reverse", "main").split()

    def link(self, name: str, target: str) -> str:
        """Commit a symbolic link. Return the SHA."""
        file = self.path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.symlink_to(target)
        return self.commit_all()

    def commit_all(self) -> str:
        """Commit everything in the folder. Return the SHA."""
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message=x")
        return self.head

    def branch(self, name: str, start: str) -> None:
        self.git("switch", "--quiet", "--create", name, start)

    def switch(self, name: str) -> None:
        self.git("switch", "--quiet", name)

    def merge(self, name: str) -> str:
        """Merge a branch like GitHub, without fast-forward. Return the SHA of the merge."""
        self.git("merge", "--quiet", "--no-ff", "--no-edit", name)
        return self.head

    def mark_pushed(self, branch: str = "origin/main") -> None:
        """Set a remote branch to HEAD, like after a push."""
        self.git("update-ref", f"refs/remotes/{branch}", "HEAD")


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
