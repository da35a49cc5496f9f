"""Find the oldest commit whose image can be reused for the requested one.

It stays the same for every push until the environment files change, so a hub builds it once.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from clinder.checkout.age_limit import AgeLimit
from clinder.checkout.checkout import Checkout, repository_at
from clinder.checkout.environment import Environment, read_environment
from clinder.checkout.git import Git
from clinder.checkout.tree import NotReusable, Tree, read, unreadable
from clinder.errors import UsageError
from clinder.repository import Repository

_SHOWN = 5  # of the inputs that move
_FORCE = "To reuse an image anyway, use `force`"


@dataclass(frozen=True)
class Choice:
    """The commit to launch instead of the requested one, and the reason in a sentence or two.

    If ``refused``, both are the same: clinder could not tell, or the image of another commit might
    behave differently. Otherwise ``note`` lists the inputs of the build that can change although no
    file does, or is ``""``.
    """

    requested: Repository
    launched: Repository
    reason: str
    refused: bool = False
    note: str = ""


@dataclass(frozen=True)
class Reusable:
    """The oldest ``commit`` with the same environment, ``newer`` commits before the requested one.

    ``older`` commits have that environment too, but are too old. ``environment`` lists the files
    that all of them share, and ``moving`` the inputs that can change although no file does.
    """

    commit: str
    newer: int
    environment: str
    older: int = 0
    moving: tuple[str, ...] = ()


def choose_commit(
    checkout: Checkout,
    directory: Path,
    environ: Mapping[str, str],
    *,
    force: bool = False,
    since: AgeLimit | None = None,
    now: Callable[[], float] = time.time,
) -> Choice:
    """Return what to launch for the commit of a checkout; never raises.

    ``force`` ignores that the build might read the rest of the repository. ``since`` limits how old
    the commit can be; ``now`` returns the seconds since 1970.
    """
    requested = checkout.repository
    git = Git(directory, environ)
    try:
        reusable = find_oldest_equivalent(
            git, requested.ref, force=force, own=own_names(checkout, git), since=since, now=now
        )
    except (NotReusable, UsageError) as error:
        reason = f"Commit {requested.ref[:12]} is launched as requested: {error}"
        return Choice(requested, requested, reason.rstrip(".") + ".", refused=True)
    launched = requested.with_ref(reusable.commit)
    if checkout.base and _is_ancestor(git, reusable.commit, checkout.base.ref):
        launched = checkout.base.with_ref(reusable.commit)
    reason = _explain(requested, launched, reusable, since)
    return Choice(requested, launched, reason, note=_list_moving(reusable))


def own_names(checkout: Checkout, git: Git) -> Iterator[Repository]:
    """Yield the names of a checkout's repository: its own, its base's, and the remotes'."""
    yield checkout.repository
    if checkout.base:
        yield checkout.base
    yield from remotes(git)


def remotes(git: Git) -> Iterator[Repository]:
    """Yield the repositories of a clone's remotes."""
    listed = (line.split() for line in git.run("remote", "--verbose").stdout.splitlines())
    for url in dict.fromkeys(words[1] for words in listed if len(words) > 1):
        with suppress(UsageError):  # a path on this machine
            yield repository_at(url, "")


def _explain(
    requested: Repository, launched: Repository, reusable: Reusable, since: AgeLimit | None
) -> str:
    short = launched.ref[:12]
    too_old = ""
    if since and reusable.older:
        older = "1 older commit" if reusable.older == 1 else f"{reusable.older} older commits"
        verb = "is" if reusable.older == 1 else "are"
        too_old = (
            f"{older} with that environment {verb} not reused because of the age limit {since.text}"
        )
    if launched == requested:
        why = too_old or f"it is the first with its environment ({reusable.environment})"
        return f"Commit {short} is launched as requested: {why}."
    of_base = f" of {launched.name}" if launched.name != requested.name else ""
    newer = "1 commit" if reusable.newer == 1 else f"{reusable.newer} commits"
    return (
        f"Commit {short}{of_base} is launched instead of {requested.ref[:12]}, which is {newer}"
        f" newer and has the same environment ({reusable.environment})."
        f"{too_old and f' {too_old}.'} The server has the files of {short}."
    )


def _list_moving(reusable: Reusable) -> str:
    """Return a note about the inputs that can change although no file does, or ``""``."""
    if not (reusable.moving and reusable.newer):
        return ""
    more = len(reusable.moving) - _SHOWN
    listed = ", ".join(reusable.moving[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
    return (
        "These inputs of the build can change although no file does. The image of"
        f" {reusable.commit[:12]} has them as they were when the hub built it: {listed}."
    )


def find_oldest_equivalent(
    git: Git,
    commit: str,
    *,
    force: bool = False,
    own: Iterable[Repository] = (),
    since: AgeLimit | None = None,
    now: Callable[[], float] = time.time,
) -> Reusable:
    """Return the oldest commit of the unbroken run of first parents with the same environment.

    ``own`` are the names of the repository; the rest is as for :func:`choose_commit`. Raises
    :class:`NotReusable` if the history is incomplete or the image might differ, and
    :class:`~clinder.errors.UsageError` if git does not run.
    """
    _require_full_history(git, commit)
    own = tuple(own)
    tree = Tree(git, commit)
    environment = read_environment(tree, own)
    if environment.obstacle and not force:
        raise NotReusable(f"{environment.obstacle}. {_FORCE}")

    def is_same(candidate: str) -> bool:
        return candidate == commit or _has(git, candidate, environment, own, force=force)

    run = _run_of_commits(git, commit, environment.pathspecs(tree))
    first = _find_first([each for each, _ in run], is_same)
    run = run[first:]
    chosen = since.choose([time for _, time in run], now()) if since else 0
    if chosen and not is_same(run[chosen][0]):
        chosen = len(run) - 1
    return Reusable(
        run[chosen][0],
        len(run) - 1 - chosen,
        environment.description,
        older=chosen,
        moving=environment.moving,
    )


def find_same_environment(
    git: Git,
    commit: str,
    others: Iterable[str],
    *,
    force: bool = False,
    own: Iterable[Repository] = (),
) -> tuple[str, str]:
    """Return the first of these other commits with the same environment, and that environment.

    No history is needed, and commits that this clone does not have are skipped. ``own`` are the
    names of the repository. Raises :class:`NotReusable` if there is none or if its image might
    differ, and :class:`~clinder.errors.UsageError` if git does not run.
    """
    present = [each for each in others if _has_commit(git, each)]
    if not _has_commit(git, commit) or not present:
        raise NotReusable(f"there is no clone with both commits. {_how_to_fetch_all(git)}")
    own = tuple(own)
    environment = read_environment(Tree(git, commit), own)
    difference = ""
    for each in present:
        other = read_environment(Tree(git, each), own)
        if paths := environment.difference(other):
            difference = difference or paths[0]
        elif (obstacle := environment.obstacle or other.obstacle) and not force:
            raise NotReusable(f"{obstacle}. {_FORCE}")
        else:
            return each, environment.description
    raise NotReusable(f"{difference} differs")


def _run_of_commits(git: Git, commit: str, paths: Sequence[str]) -> list[tuple[str, float]]:
    """Return the first parents of a commit since one changed the paths, and their times.

    The first is the commit that changed them.
    """
    walk = ("rev-list", "--first-parent")
    changed = read(git, *walk, "--max-count=1", commit, "--", *paths).split()
    (oldest,) = changed or read(git, *walk, "--max-parents=0", commit).split()
    timed = (*walk, "--timestamp", "--reverse")
    lines = read(git, *timed, "--max-count=1", oldest).splitlines()
    lines += read(git, *timed, f"{oldest}..{commit}").splitlines()
    return [(each, float(time)) for time, each in map(str.split, lines)]


def _has(
    git: Git, commit: str, environment: Environment, own: tuple[Repository, ...], *, force: bool
) -> bool:
    """Return whether a commit has an environment, as far as clinder can tell."""
    try:
        other = read_environment(Tree(git, commit), own)
    except NotReusable:
        return False
    return not environment.difference(other) and (force or not other.obstacle)


def _find_first(commits: Sequence[str], is_same: Callable[[str], bool]) -> int:
    """Return the index of the first commit that is the same as the last.

    That is nearly always the first of all. If not, the commits differ in something that no path
    shows, and a bisection finds one that is the same.
    """
    low, high = 0, len(commits) - 1
    middle = 0
    while low < high:
        if is_same(commits[middle]):
            high = middle
        else:
            low = middle + 1
        middle = (low + high) // 2
    return high


def _require_full_history(git: Git, commit: str) -> None:
    """Raise :class:`NotReusable` if the clone does not have the whole history of the commit."""
    shallow = git.run("rev-parse", "--is-shallow-repository")
    if "not a git repository" in shallow.stderr:
        raise NotReusable(f"there is no clone, so no history. {_how_to_fetch_all(git)}")
    if shallow.returncode:
        raise unreadable(git, shallow.stderr)
    if shallow.stdout.strip() == "true":
        raise NotReusable(f"this clone is shallow. {_how_to_fetch_all(git)}")
    if not _has_commit(git, commit):
        raise NotReusable(f"it is not in this clone. {_how_to_fetch_all(git)}")


def _has_commit(git: Git, commit: str) -> bool:
    return git.run("cat-file", "-e", f"{commit}^{{commit}}").returncode == 0


def _how_to_fetch_all(git: Git) -> str:
    if git.environ.get("GITHUB_ACTIONS"):
        return "Run actions/checkout beforehand, with `fetch-depth: 0`"
    if git.environ.get("GITLAB_CI"):
        return "Set the variable `GIT_DEPTH: 0` for this job"
    return "Run `git fetch --unshallow`, or `git fetch` if the clone is not shallow"


def _is_ancestor(git: Git, commit: str, other: str) -> bool:
    return git.run("merge-base", "--is-ancestor", commit, other).returncode == 0
