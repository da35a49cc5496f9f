"""The action takes its packages from a release or the index, and changes nothing else."""

from __future__ import annotations

import hashlib
import os
import re
import socket
import ssl
import subprocess
import sys
import threading
import zipfile
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib import metadata
from pathlib import Path

import pytest
import trustme
from packaging.requirements import Requirement
from packaging.tags import sys_tags
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
ACTION = ROOT / "src" / "clinder" / "action"
LOCK = "src/clinder/action/requirements.txt"
PYTHON = os.environ.get("MEASURED_PYTHON", sys.executable)  # `make coverage` has its own
INHERITED = ("PATH", "SYSTEMROOT", "COVERAGE_PROCESS_CONFIG")
STEP = """
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
    """A job that uses a small action, which needs one package from an index in a folder."""

    root: Path

    @property
    def action(self) -> Path:
        return self.root / "action"

    @property
    def shared(self) -> Path:
        """The folder for the packages."""
        return self.root / "shared"

    @property
    def installed(self) -> list[Path]:
        """What is in that folder."""
        return list(self.shared.iterdir())

    @property
    def index(self) -> Path:
        return self.root / "index"

    def start(self, python: str = sys.executable, **variables: str) -> subprocess.Popen[str]:
        """Start a step that imports the packages."""
        arguments = [str(self.action), str(self.shared), python, str(ACTION / "bootstrap.py")]
        inherited = {name: os.environ[name] for name in INHERITED if name in os.environ}
        home = {"HOME": str(self.root / "home"), "PIP_CONFIG_FILE": os.devnull}
        index = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(self.index)}
        return subprocess.Popen(
            [PYTHON, "-I", "-S", "-B", "-c", STEP, *arguments],
            env={**inherited, **home, **index, **variables},
            cwd=self.root,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def use(self, python: str = sys.executable, **variables: str) -> list[Path]:
        """Run such a step; return the paths that clinder and the package are imported from."""
        process = self.start(python, **variables)
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
        assert err == ""
        return [Path(line) for line in out.splitlines()]

    def fail(self, python: str = sys.executable, **variables: str) -> str:
        """Run such a step, which fails, and return its one message."""
        process = self.start(python, **variables)
        out, err = process.communicate(timeout=60)
        assert (process.returncode, out) == (1, "")
        assert "\n" not in err.rstrip("\n")
        return err.rstrip("\n")


@pytest.fixture
def job(tmp_path: Path) -> Job:
    """A job that has not used the action yet."""
    for folder in ("index", "shared", "home", "action/src/clinder/action"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "action/src/clinder/__init__.py").write_text("")
    locked = f"needed==1 --hash=sha256:{_wheel(tmp_path / 'index', 'needed')}\n"
    (tmp_path / "action" / LOCK).write_text(locked)
    return Job(tmp_path)


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


def test_the_packages_are_imported_from_one_private_folder_of_the_job(job: Job) -> None:
    imported = job.use()

    (packages,) = job.installed
    assert os.name == "nt" or packages.stat().st_mode & 0o777 == 0o700
    assert imported == [packages / "clinder" / "__init__.py", packages / "needed.py"]
    assert {each.name for each in packages.iterdir()} == {
        "clinder",
        "needed.py",
        "needed-1.dist-info",
    }
    assert not (job.root / "home" / ".cache").exists()
    assert not (job.root / "home" / ".local").exists()


def test_the_next_use_finds_the_packages_and_installs_nothing(job: Job) -> None:
    first = job.use()
    (job.index / "needed-1-py3-none-any.whl").unlink()

    assert job.use() == first


def test_another_version_of_the_action_has_its_own_packages(job: Job) -> None:
    first = job.use()
    (job.action / "src/clinder/more.py").write_text("")

    assert job.use() != first


def test_concurrent_uses_share_one_complete_folder(job: Job) -> None:
    processes = [job.start() for _ in range(3)]

    outputs = {process.communicate(timeout=60) for process in processes}

    (packages,) = job.installed
    assert outputs == {(f"{packages / 'clinder' / '__init__.py'}\n{packages / 'needed.py'}\n", "")}


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        (
            LOCK,
            f"needed==1 --hash=sha256:{'0' * 64}\n",
            "pip cannot install clinder's packages: ERROR: THESE PACKAGES DO NOT MATCH",
        ),
        (LOCK, "needed==1\n", "Hashes are required"),
        ("clinder.pyz", "not a zip file", "File is not a zip file"),
    ],
    ids=["wrong hash", "no hash", "damaged zipapp"],
)
def test_invalid_packages_are_refused_and_leave_nothing_for_the_next_use(
    job: Job, file: str, content: str, message: str
) -> None:
    (job.action / file).write_text(content)

    assert message in job.fail()
    assert job.installed == []


def test_an_unreachable_index_is_named_as_the_cause(job: Job) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]

    message = job.fail(
        PIP_NO_INDEX="0", PIP_FIND_LINKS="", PIP_INDEX_URL=f"http://127.0.0.1:{port}/simple"
    )

    assert "the package index cannot be reached" in message
    assert "A release of this action contains its packages" in message
    assert job.installed == []


BASE = str(getattr(sys, "_base_executable", sys.executable))
"""This Python outside its virtual environment, where ``require-virtualenv`` has an effect."""
HOSTILE = {
    "user": "true",
    "require-virtualenv": "true",
    "no-binary": ":all:",
    "target": "elsewhere",
    "no-deps": "false",
    "platform": "win32",
}


class Index(SimpleHTTPRequestHandler):
    """A package index whose responses a client can cache."""

    def end_headers(self) -> None:
        self.send_header("Cache-Control", "max-age=3600")
        super().end_headers()

    def log_message(self, *_: object) -> None:
        pass


def test_pip_uses_the_users_private_index_and_caches_nothing(job: Job) -> None:
    (job.index / "simple" / "needed").mkdir(parents=True)
    (wheel,) = job.index.glob("*.whl")
    wheel.rename(job.index / "simple" / "needed" / wheel.name)
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(job.root / "own.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Index, directory=job.index)) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        index = f"https://localhost:{server.server_port}/simple"
        certificate = str(job.root / "own.pem")
        job.use(PIP_NO_INDEX="0", PIP_FIND_LINKS="", PIP_INDEX_URL=index, PIP_CERT=certificate)
        server.shutdown()
        thread.join()

    assert not (job.root / "home" / ".cache").exists()


def test_a_compiled_wheel_is_never_chosen(job: Job) -> None:
    """pip would choose by the hash, but not every index publishes hashes."""
    _wheel(job.index, "needed", str(next(sys_tags())))

    job.use()


def test_pip_settings_for_other_work_have_no_effect(job: Job) -> None:
    file = job.root / "pip.conf"
    settings = [f"{key} = {value}" for key, value in HOSTILE.items()]
    file.write_text("\n".join(["[global]", *settings]))
    variables = {f"PIP_{key.upper().replace('-', '_')}": value for key, value in HOSTILE.items()}
    variables |= {"PIP_CONSTRAINT": "missing.txt", "PIP_DRY_RUN": "1", "PYTHONPATH": "elsewhere"}

    job.use(BASE, **variables, PIP_CONFIG_FILE=str(file))


@pytest.mark.posix
def test_without_pip_the_message_lists_the_remedies(job: Job) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", job.root / "bare"], check=True)
    python = str(job.root / "bare" / "bin" / "python")

    assert job.fail(python) == (
        f"{python} has no pip. Add actions/setup-python before this step, install python3-pip, "
        "or use a release of this action, which needs no installer."
    )
    assert job.installed == []


def test_a_folder_that_cannot_be_written_to_is_named(job: Job) -> None:
    job.shared.rmdir()
    job.shared.write_text("")

    assert f"clinder's packages cannot be written to {job.shared}: " in job.fail()


def test_a_release_uses_its_zipapp_and_no_package_index(job: Job) -> None:
    with zipfile.ZipFile(job.action / "clinder.pyz", "w") as archive:
        archive.writestr("clinder/__init__.py", "")
        archive.writestr("needed.py", "")

    imported = job.use(PIP_FIND_LINKS="")

    (packages,) = job.installed
    assert imported == [packages / "clinder" / "__init__.py", packages / "needed.py"]


# The lock.


def _requirements(file: str) -> dict[str, Requirement]:
    lines = (ACTION / file).read_text(encoding="utf-8").replace("\\\n", "").splitlines()
    texts = [line.split(" --hash")[0] for line in lines if line and not line.startswith("#")]
    requirements = map(Requirement, texts)
    return {canonicalize_name(each.name): each for each in requirements}


def test_the_lock_pins_each_requirement_to_one_file() -> None:
    required, locked = _requirements("requirements.in"), _requirements("requirements.txt")
    lock = (ACTION / "requirements.txt").read_text(encoding="utf-8")

    assert required.keys() == locked.keys()
    for name, requirement in locked.items():
        (pin,) = requirement.specifier
        assert pin.operator == "=="
        assert pin.version in required[name].specifier
    assert len(re.findall(r"--hash=sha256:[0-9a-f]{64}$", lock, re.MULTILINE)) == len(locked)


def test_the_actions_requirements_are_clinders_without_its_command_line() -> None:
    dependencies = [Requirement(text) for text in metadata.requires("clinder") or ()]
    needs = {
        canonicalize_name(each.name): each
        for each in dependencies
        if "extra" not in str(each.marker)
    }
    required = _requirements("requirements.in")

    assert "actions-toolkit" not in needs
    assert needs.keys() - required.keys() == {"click", "python-dotenv", "rich"}
    for name in needs.keys() & required.keys():
        assert required[name].specifier == needs[name].specifier


# Which Python.


def _program(path: Path, script: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}")
    path.chmod(0o755)


@pytest.fixture(
    params=[
        pytest.param(command, marks=pytest.mark.posix)
        for command in ("/bin/sh -eu", "/bin/bash -euo pipefail")
    ]
)
def shell(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def _find_python(shell: str, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    script = f'. "{ACTION}/find_python.sh"; "$CLINDER_PYTHON" -V; echo "$CLINDER_PYTHON"'
    return subprocess.run(
        [*shell.split(), "-c", script],
        cwd=folder,
        env=variables,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


OLD = 'case "$*" in *version_info*) exit 0 ;; esac'
STUB = "echo 'Python was not found; run without arguments to install from the Store.' >&2; exit 49"


def test_the_first_python_that_runs_and_is_new_enough_is_used(shell: str, tmp_path: Path) -> None:
    _program(tmp_path / "stub" / "python3", STUB)
    _program(tmp_path / "old" / "python3", OLD)
    _program(tmp_path / "good one" / "python3", f'exec "{sys.executable}" "$@"')

    path = f"{tmp_path}/stub:{tmp_path}/old:{tmp_path}/good one:/usr/bin:/bin"
    ran = _find_python(shell, tmp_path, PATH=path)

    assert ran.stdout.splitlines() == [
        f"Python {sys.version.split()[0]}",
        os.path.realpath(sys.executable) if sys.prefix == sys.base_prefix else sys.executable,
    ]


def test_the_python_of_setup_python_comes_first(shell: str, tmp_path: Path) -> None:
    good = 'case "$*" in -V) echo Python;; *) echo "$0";; esac'
    _program(tmp_path / "bin" / "python3", good)
    _program(tmp_path / "path" / "python3", good)

    path = f"{tmp_path}/path:/usr/bin:/bin"
    ran = _find_python(shell, tmp_path, pythonLocation=str(tmp_path), PATH=path)

    assert ran.stdout.splitlines()[-1] == str(tmp_path / "bin" / "python3")


def test_windows_line_ends_are_not_part_of_the_path(shell: str, tmp_path: Path) -> None:
    _program(tmp_path / "python3", 'case "$*" in -V) ;; *) printf "%s\\r\\n" "$0";; esac')

    ran = _find_python(shell, tmp_path, PATH=f"{tmp_path}:/usr/bin:/bin")

    assert ran.stdout.splitlines()[-1] == str(tmp_path / "python3")


def test_a_python_in_the_workspace_is_never_run(shell: str, tmp_path: Path) -> None:
    _program(tmp_path / "python3", f"touch {tmp_path}/ran; echo $0")

    _find_python(shell, tmp_path, PATH=".::/usr/bin:/bin")

    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("fail_on_error", "kind", "code"), [("", "error", 1), ("False", "warning", 0)]
)
def test_without_a_python_there_is_one_annotation(
    shell: str, tmp_path: Path, fail_on_error: str, kind: str, code: int
) -> None:
    ran = _find_python(
        shell, tmp_path, PATH=str(tmp_path), CLINDER_INPUT_FAIL_ON_ERROR=fail_on_error
    )

    assert (ran.returncode, ran.stderr) == (code, "")
    assert re.fullmatch(
        rf"::{kind} title=clinder::No Python 3\.10 or newer was found .*\n", ran.stdout
    )
