"""clinder.pyz: one file, the same bytes every time, all that the action needs in it."""

from __future__ import annotations

import os
import ssl
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from email.parser import HeaderParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import trustme
from packaging.requirements import Requirement

import clinder
from clinder.action.bootstrap import ZIPAPP

ROOT = Path(__file__).resolve().parents[1]
BUILDER = ROOT / "tools" / "build_zipapp.py"
WITHOUT_ITS_DEPENDENCIES = "actions-toolkit"
SENDS = """
import ssl, sys
sys.path.insert(0, sys.argv[1])
import certifi, requests.utils
assert certifi.__file__.startswith(sys.argv[1])
print(len(ssl.create_default_context(cafile=certifi.where()).get_ca_certs()) > 50)
try:
    requests.get(sys.argv[2], timeout=10)
except requests.exceptions.SSLError as error:
    print("CERTIFICATE_VERIFY_FAILED" in str(error))
print(requests.get(sys.argv[2], timeout=10, verify=sys.argv[3]).text)
"""


def _build(target: Path, directory: Path, umask: int = 0o022, **variables: str) -> Path:
    subprocess.run(
        [sys.executable, BUILDER, target],
        cwd=directory,
        env={**os.environ, **variables},
        umask=umask,
        timeout=100,
        check=True,
    )
    return target


@pytest.fixture(scope="module")
def zipapp(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The zipapp, built once, which takes a second or two and asks the package index."""
    folder = tmp_path_factory.mktemp("zipapp")
    return _build(folder / ZIPAPP, ROOT)


def _python(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-I", "-S", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_it_is_the_same_whenever_and_wherever_it_is_built(zipapp: Path, tmp_path: Path) -> None:
    umask = 0o022 if os.name == "nt" else 0o077
    variables = {"LC_ALL": "C", "TZ": "Asia/Tokyo", "PYTHONHASHSEED": "7"}

    again = _build(tmp_path / "other.pyz", tmp_path, umask, **variables)

    assert again.read_bytes() == zipapp.read_bytes()


def test_it_tells_its_version(zipapp: Path) -> None:
    ran = _python(zipapp, "--version")

    assert (ran.stdout, ran.stderr) == (f"clinder {clinder.__version__}\n", "")


def test_it_says_where_the_command_line_is(zipapp: Path) -> None:
    ran = _python(zipapp, "start")

    assert ran.returncode == 1
    assert "The command line is `uvx clinder`." in ran.stderr


def test_it_holds_clinder_and_what_is_locked_and_nothing_else(zipapp: Path) -> None:
    with zipfile.ZipFile(zipapp) as archive:
        names = archive.namelist()

    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {
        *("__main__.py", "actions_toolkit", "certifi", "charset_normalizer", "clinder"),
        *("idna", "requests", "sseclient", "urllib3", "websocket"),
    }
    assert not [name for name in names if name.endswith((".pyc", ".so", ".pyd", "/RECORD"))]
    assert [name for name in names if "LICENSE" in name.upper()]


def _distributions(zipapp: Path) -> Iterator[tuple[Requirement, list[Requirement]]]:
    """Yield what is in it, as a pin, and what that says it needs."""
    with zipfile.ZipFile(zipapp) as archive:
        for name in archive.namelist():
            if name.endswith(".dist-info/METADATA"):
                said = HeaderParser().parsestr(archive.read(name).decode())
                needs = [Requirement(text) for text in said.get_all("Requires-Dist", [])]
                pin = Requirement(f"{said['Name'].replace('_', '-')}=={said['Version']}")
                yield pin, [each for each in needs if "extra" not in str(each.marker)]


def test_whatever_a_package_needs_is_in_it_as_it_needs_it(zipapp: Path) -> None:
    packages = list(_distributions(zipapp))
    held = {pin.name: next(iter(pin.specifier)).version for pin, _ in packages}

    for pin, needs in packages:
        for need in needs:
            if pin.name != WITHOUT_ITS_DEPENDENCIES:
                assert held[need.name.replace("_", "-")] in need.specifier
    assert WITHOUT_ITS_DEPENDENCIES in held


class Greeting(BaseHTTPRequestHandler):
    """Answers every request in one word."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"hello")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def secure(authority: trustme.CA, _no_threads_left: None) -> Iterator[str]:
    """The address of a server whose authority is nobody's."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    with ThreadingHTTPServer(("127.0.0.1", 0), Greeting) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"https://localhost:{server.server_port}/"
        server.shutdown()
        thread.join()


def test_certificates_are_checked_against_the_authorities_in_it(
    zipapp: Path, authority: trustme.CA, secure: str, tmp_path: Path
) -> None:
    authority.cert_pem.write_to_path(str(tmp_path / "own.pem"))

    ran = _python("-c", SENDS, zipapp, secure, tmp_path / "own.pem")

    assert (ran.stdout, ran.stderr) == ("True\nTrue\nhello\n", "")


def test_git_does_not_see_it() -> None:
    assert ZIPAPP in (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()


def test_each_module_of_the_action_imports_from_it_alone(zipapp: Path) -> None:
    with zipfile.ZipFile(zipapp) as archive:
        modules = [
            name.removesuffix(".py").replace("/", ".")
            for name in archive.namelist()
            if name.startswith(("clinder/action/", "clinder/launch/", "clinder/wire/"))
            and not name.endswith("__.py")
        ]

    ran = _python(
        "-c", f"import sys; sys.path[:0] = [{str(zipapp)!r}]\nimport {', '.join(modules)}"
    )

    assert len(modules) > 10
    assert (ran.returncode, ran.stderr) == (0, "")
