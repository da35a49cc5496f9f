"""The action's own packages: from where they come, and that nothing else is touched."""

from __future__ import annotations

import hashlib
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import textwrap
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib import metadata
from pathlib import Path

import psutil
import pytest
import trustme
from packaging.requirements import Requirement
from packaging.tags import sys_tags

from e2e.world import until

ROOT = Path(__file__).resolve().parents[1]
ACTION = ROOT / "src" / "clinder" / "action"
PYTHON = os.environ.get("MEASURED_PYTHON", sys.executable)  # `make coverage` has its own
KEPT = ("PATH", "SYSTEMROOT", "COVERAGE_PROCESS_CONFIG")
USER = """
import runpy, sys
sys.executable = sys.argv[3]
bootstrap = runpy.run_path(sys.argv[4])
from pathlib import Path
try:
    bootstrap["provide"](Path(sys.argv[1]), Path(sys.argv[2]))
except bootstrap["ProvisioningFailed"] as error:
    sys.exit(str(error))
import clinder, needed
print(clinder.__file__, needed.__file__, sep="\\n")
"""


@dataclass(frozen=True)
class Job:
    """A job that uses a small action, which needs one package of an index in a folder."""

    root: Path
    requirements: str

    @property
    def action(self) -> Path:
        return self.root / "action"

    @property
    def temporary(self) -> Path:
        """Where the packages go."""
        return self.root / "temporary"

    @property
    def index(self) -> Path:
        return self.root / "index"

    def start(self, python: str = sys.executable, **variables: str) -> subprocess.Popen[str]:
        """Start a step that uses what the action provides."""
        arguments = [str(self.action), str(self.temporary), python, str(ACTION / "bootstrap.py")]
        kept = {name: os.environ[name] for name in KEPT if name in os.environ}
        home = {"HOME": str(self.root / "home"), "PIP_CONFIG_FILE": os.devnull}
        offers = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(self.index)}
        return subprocess.Popen(
            [PYTHON, "-I", "-S", "-B", "-c", USER, *arguments],
            env={**kept, **home, **offers, **variables},
            cwd=self.root,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def use(self, python: str = sys.executable, **variables: str) -> list[Path]:
        """Run such a step, and return where clinder and the package were imported from."""
        process = self.start(python, **variables)
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
        assert err == ""
        return [Path(line) for line in out.splitlines()]

    def fail(self, python: str = sys.executable, **variables: str) -> str:
        """Run such a step that fails, and return its one message."""
        process = self.start(python, **variables)
        out, err = process.communicate(timeout=60)
        assert (process.returncode, out) == (1, "")
        assert "\n" not in err.rstrip("\n")
        return err.rstrip("\n")

    @property
    def made(self) -> list[Path]:
        return list(self.temporary.iterdir())


@pytest.fixture
def job(tmp_path: Path) -> Job:
    """A job, in which nothing was used yet."""
    for folder in ("index", "temporary", "home", "action/src/clinder/action"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "action/src/clinder/__init__.py").write_text("")
    locked = f"needed==1 --hash=sha256:{_wheel(tmp_path / 'index', 'needed')}\n"
    (tmp_path / "action/src/clinder/action/requirements.txt").write_text(locked)
    return Job(tmp_path, locked)


def _wheel(folder: Path, name: str, tag: str = "py3-none-any") -> str:
    """Write a wheel of one module and one script; return its hash."""
    path = folder / f"{name}-1-{tag}.whl"
    info = f"{name}-1.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{name}.py", "")
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n")
        archive.writestr(
            f"{info}/WHEEL", f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tag}\n"
        )
        archive.writestr(f"{info}/entry_points.txt", f"[console_scripts]\n{name}={name}:main\n")
        archive.writestr(f"{info}/RECORD", "")
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_packages_come_from_one_private_folder_of_the_job(job: Job) -> None:
    used = job.use()

    (packages,) = job.made
    assert used == [packages / "clinder" / "__init__.py", packages / "needed.py"]
    assert {each.name for each in packages.iterdir()} == {
        "clinder",
        "needed.py",
        "needed-1.dist-info",
    }
    assert not (job.root / "home" / ".cache").exists()
    assert not (job.root / "home" / ".local").exists()


@pytest.mark.posix
def test_nobody_else_can_read_the_folder(job: Job) -> None:
    job.use()

    (packages,) = job.made
    assert packages.stat().st_mode & 0o777 == 0o700


def test_a_second_use_installs_nothing(job: Job) -> None:
    first = job.use()
    (job.index / "needed-1-py3-none-any.whl").unlink()

    assert job.use() == first


def test_another_version_of_the_action_in_the_same_job_has_its_own(job: Job) -> None:
    first = job.use()
    (job.action / "src/clinder/more.py").write_text("")

    assert job.use() != first


def test_two_uses_at_once_have_the_same_and_leave_no_half(job: Job) -> None:
    processes = [job.start() for _ in range(3)]

    said = {process.communicate(timeout=60) for process in processes}

    (packages,) = job.made
    assert said == {(f"{packages / 'clinder' / '__init__.py'}\n{packages / 'needed.py'}\n", "")}


def test_a_wrong_hash_is_refused_and_the_next_try_starts_anew(job: Job) -> None:
    lock = job.action / "src/clinder/action/requirements.txt"
    lock.write_text(f"needed==1 --hash=sha256:{'0' * 64}\n")

    said = job.fail()

    assert "pip cannot install what clinder needs: ERROR: THESE PACKAGES DO NOT MATCH" in said
    assert job.made == []
    lock.write_text(job.requirements)
    job.use()


def test_a_lock_without_a_hash_is_refused(job: Job) -> None:
    (job.action / "src/clinder/action/requirements.txt").write_text("needed==1\n")

    assert "Hashes are required" in job.fail()


def test_an_index_that_is_not_there_is_named_as_the_cause(job: Job) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]

    said = job.fail(
        PIP_NO_INDEX="0", PIP_FIND_LINKS="", PIP_INDEX_URL=f"http://127.0.0.1:{port}/simple"
    )

    assert "the package index cannot be reached" in said
    assert "A release of this action has what it needs in it" in said
    assert job.made == []


BASE = str(getattr(sys, "_base_executable", sys.executable))
"""This Python without its virtual environment, where pip can be told to refuse."""
HOSTILE = {
    "user": "true",
    "require-virtualenv": "true",
    "no-binary": ":all:",
    "target": "elsewhere",
    "no-deps": "false",
    "platform": "win32",
}


class Index(SimpleHTTPRequestHandler):
    """A package index: folders that list their files, which a client may keep."""

    def end_headers(self) -> None:
        self.send_header("Cache-Control", "max-age=3600")
        super().end_headers()

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def _served(folder: Path, authority: trustme.CA) -> Iterator[str]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Index, directory=str(folder))) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"https://localhost:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_private_index_is_asked_and_nothing_of_it_is_kept_elsewhere(job: Job) -> None:
    (job.index / "simple" / "needed").mkdir(parents=True)
    (wheel,) = job.index.glob("*.whl")
    wheel.rename(job.index / "simple" / "needed" / wheel.name)
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(job.root / "own.pem"))

    with _served(job.index, authority) as address:
        variables = {"PIP_INDEX_URL": f"{address}/simple", "PIP_CERT": str(job.root / "own.pem")}
        job.use(PIP_NO_INDEX="0", PIP_FIND_LINKS="", **variables)

    assert not (job.root / "home" / ".cache").exists()


def test_a_compiled_package_is_no_choice(job: Job) -> None:
    """An index may not tell the hashes of its files, by which pip would choose."""
    _wheel(job.index, "needed", str(next(sys_tags())))

    job.use()


def test_a_configuration_for_other_work_does_not_matter(job: Job) -> None:
    file = job.root / "pip.conf"
    file.write_text(
        "\n".join(["[global]", *(f"{key} = {value}" for key, value in HOSTILE.items())])
    )

    job.use(BASE, PIP_CONFIG_FILE=str(file))


def test_variables_for_other_work_do_not_matter(job: Job) -> None:
    variables = {f"PIP_{key.upper().replace('-', '_')}": value for key, value in HOSTILE.items()}

    job.use(
        BASE, **variables, PIP_CONSTRAINT="missing.txt", PIP_DRY_RUN="1", PYTHONPATH="elsewhere"
    )


@pytest.mark.posix
def test_a_python_without_pip_lends_one_from_a_throw_away_environment(job: Job) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", job.root / "bare"], check=True)

    used = job.use(str(job.root / "bare" / "bin" / "python"))

    (packages,) = job.made
    assert used[0].parent.parent == packages


DEBIANS_PYTHON = """
case "$*" in
  *"-m pip"*) echo "$0: No module named pip" >&2 ;;
  *"-m venv"*) echo "The virtual environment was not created: ensurepip is not available." ;;
esac
exit 1
"""
UV = """
case "$*" in *"--require-hashes"*"--target="*) ;; *) exit 3 ;; esac
for each in "$@"; do
  case $each in --target=*) touch "${each#*=}/needed.py" ;; esac
done
"""


def _program(path: Path, script: str) -> str:
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}")
    path.chmod(0o755)
    return str(path)


@pytest.mark.posix
def test_without_pip_uv_does_it(job: Job) -> None:
    python = _program(job.root / "python3", DEBIANS_PYTHON)
    _program(job.root / "bin" / "uv", UV)

    used = job.use(python, PATH=f"{job.root / 'bin'}{os.pathsep}{os.environ['PATH']}")

    assert used[1].parent in job.made


@pytest.mark.posix
def test_a_python_with_nothing_that_installs_is_told_what_to_add(job: Job) -> None:
    python = _program(job.root / "python3", DEBIANS_PYTHON)

    said = job.fail(python, PATH="/bin")

    assert said == (
        f"{python} has no pip, and there is no uv. Add actions/setup-python before this step, "
        "or install python3-pip on this machine."
    )
    assert job.made == []


def test_a_folder_that_cannot_be_written_is_named(job: Job) -> None:
    job.temporary.rmdir()
    job.temporary.write_text("")

    assert f"clinder's own packages cannot be put into {job.temporary}: " in job.fail()


@pytest.fixture
def silent_index() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(30)
        yield listening


def _is_gone(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):
        return process.status() == psutil.STATUS_ZOMBIE
    return True


@pytest.mark.posix
def test_an_interrupt_ends_the_installer_and_leaves_nothing(
    job: Job, silent_index: socket.socket
) -> None:
    port = silent_index.getsockname()[1]
    step = job.start(PIP_NO_INDEX="0", PIP_INDEX_URL=f"http://127.0.0.1:{port}/simple")
    asking, _ = silent_index.accept()
    children = psutil.Process(step.pid).children(recursive=True)

    with asking:
        step.send_signal(signal.SIGINT)
        step.communicate(timeout=20)

    assert children
    until(lambda: all(map(_is_gone, children)))
    assert job.made == []


def test_a_zipapp_is_used_when_it_is_there_and_no_index_is_asked(job: Job) -> None:
    with zipfile.ZipFile(job.action / "clinder.pyz", "w") as archive:
        archive.writestr("clinder/__init__.py", "")
        archive.writestr("needed.py", "")

    used = job.use(PIP_FIND_LINKS="")

    (packages,) = job.made
    assert used == [packages / "clinder" / "__init__.py", packages / "needed.py"]


def test_a_damaged_zipapp_is_one_message(job: Job) -> None:
    (job.action / "clinder.pyz").write_bytes(b"not a zip file")

    assert "File is not a zip file" in job.fail()
    assert job.made == []


# The lock.


def _listed(file: str) -> dict[str, Requirement]:
    lines = (ACTION / file).read_text(encoding="utf-8").replace("\\\n", "").splitlines()
    texts = [line.split(" --hash")[0] for line in lines if line and not line.startswith("#")]
    return {Requirement(text).name: Requirement(text) for text in texts}


def test_what_is_locked_is_what_is_asked_for() -> None:
    asked, locked = _listed("requirements.in"), _listed("requirements.txt")

    assert asked.keys() == locked.keys()
    for name, requirement in locked.items():
        (pin,) = requirement.specifier
        assert pin.operator == "=="
        assert pin.version in asked[name].specifier


def test_each_package_is_locked_to_one_file() -> None:
    lock = (ACTION / "requirements.txt").read_text(encoding="utf-8")

    assert len(re.findall(r"--hash=sha256:[0-9a-f]{64}$", lock, re.MULTILINE)) == len(
        _listed("requirements.txt")
    )


def test_it_asks_for_what_clinder_needs_in_the_same_bounds_and_for_no_command_line() -> None:
    all_needs = [Requirement(text) for text in metadata.requires("clinder") or ()]
    needs = {each.name: each for each in all_needs if "extra" not in str(each.marker)}
    asked = _listed("requirements.in")

    assert "actions-toolkit" not in needs
    assert needs.keys() - asked.keys() == {"click", "rich"}
    for name in needs.keys() & asked.keys():
        assert asked[name].specifier == needs[name].specifier


# Which Python.


@pytest.fixture(params=["/bin/sh", "/bin/bash"])
def shell(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def _found(shell: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            shell,
            "-euc",
            f'. "{ACTION}/find_python.sh"; "$CLINDER_PYTHON" -V; echo "$CLINDER_PYTHON"',
        ],
        env=variables,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


OLD = 'case "$*" in *version_info*) exit 0 ;; esac'
STUB = "echo 'Python was not found; run without arguments to install from the Store.' >&2; exit 49"


@pytest.mark.posix
def test_the_first_python_that_runs_and_is_new_enough_is_taken(shell: str, tmp_path: Path) -> None:
    _program(tmp_path / "stub" / "python3", STUB)
    _program(tmp_path / "old" / "python3", OLD)
    _program(tmp_path / "good one" / "python3", f'exec "{sys.executable}" "$@"')

    ran = _found(shell, PATH=f"{tmp_path}/stub:{tmp_path}/old:{tmp_path}/good one:/usr/bin:/bin")

    assert ran.stdout.splitlines() == [
        f"Python {sys.version.split()[0]}",
        os.path.realpath(sys.executable) if sys.prefix == sys.base_prefix else sys.executable,
    ]


@pytest.mark.posix
def test_what_setup_python_has_set_up_comes_first(shell: str, tmp_path: Path) -> None:
    good = 'case "$*" in -V) echo Python;; *) echo "$0";; esac'
    _program(tmp_path / "bin" / "python3", good)
    _program(tmp_path / "path" / "python3", good)

    ran = _found(shell, pythonLocation=str(tmp_path), PATH=f"{tmp_path}/path:/usr/bin:/bin")

    assert ran.stdout.splitlines()[-1] == str(tmp_path / "bin" / "python3")


@pytest.mark.posix
def test_windows_line_ends_are_no_part_of_a_path(shell: str, tmp_path: Path) -> None:
    _program(tmp_path / "python3", 'case "$*" in -V) ;; *) printf "%s\\r\\n" "$0";; esac')

    ran = _found(shell, PATH=f"{tmp_path}:/usr/bin:/bin")

    assert ran.stdout.splitlines()[-1] == str(tmp_path / "python3")


@pytest.mark.posix
def test_a_python_in_the_workspace_is_never_run(shell: str, tmp_path: Path) -> None:
    _program(tmp_path / "python3", f"touch {tmp_path}/ran; echo $0")

    subprocess.run(
        [shell, "-euc", f'. "{ACTION}/find_python.sh"'],
        cwd=tmp_path,
        env={"PATH": ".::/usr/bin:/bin"},
        capture_output=True,
        timeout=30,
        check=False,
    )

    assert not (tmp_path / "ran").exists()


@pytest.mark.posix
def test_no_python_is_one_annotation(shell: str, tmp_path: Path) -> None:
    ran = _found(shell, PATH=str(tmp_path))

    assert ran.returncode == 1
    assert ran.stderr == ""
    assert ran.stdout == textwrap.dedent(
        """\
        ::error title=clinder::No Python 3.10 or newer was found on this runner. \
Add actions/setup-python, or install python3, before this step.
        """
    )
