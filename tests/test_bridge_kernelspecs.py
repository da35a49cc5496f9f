"""The kernelspecs of the bridge, as Jupyter's own client finds and starts them."""

from __future__ import annotations

import json
import os
import socket
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from jupyter_client.kernelspec import KernelSpecManager

from clinder.bridge.kernelspecs import Written, local_names, write_kernelspecs
from clinder.embedded.servers import server_environ

TOKEN = "t" * 32


def spec(**fields: object) -> dict[str, Any]:
    return {"spec": {"argv": ["ark"], "display_name": "R 4", "language": "R", **fields}}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "kernels"
    made.mkdir(mode=0o700)
    return made


def write(folder: Path, specs: dict[str, Any], *local: str) -> Written:
    return write_kernelspecs(
        folder,
        {"default": "ir", "kernelspecs": specs},
        url="http://127.0.0.1:9/",
        token=TOKEN,
        top=folder,
        local=local,
    )


def kernel_json(folder: Path, name: str) -> dict[str, Any]:
    text = (folder / "kernels" / name / "kernel.json").read_text()
    data: dict[str, Any] = json.loads(text)
    return data


def test_a_session_s_kernelspec_starts_a_bridge_and_keeps_what_a_tool_shows(folder: Path) -> None:
    hostile = {"metadata": {"kernel_provisioner": {"provisioner_name": "x"}}, "env": {"A": "1"}}
    write(folder, {"ir": spec(**hostile)})
    written = kernel_json(folder, "ir")
    python, script, place, name, connection_file = written.pop("argv")
    assert (python, place, name, connection_file) == (
        "python",
        str(folder),
        "ir",
        "{connection_file}",
    )
    assert Path(script).is_file()
    assert written == {
        "display_name": "R 4",
        "language": "R",
        "interrupt_mode": "message",
        "metadata": {"clinder": {"bridge": True}},
    }


def test_a_name_that_only_this_machine_has_is_refused_and_so_is_python3(folder: Path) -> None:
    assert write(folder, {"ir": spec()}, "conda-base-py") == Written(
        ("ir",), ("conda-base-py", "python3")
    )


def test_a_kernelspec_of_the_session_is_not_refused(folder: Path) -> None:
    assert write(folder, {"python3": spec()}, "python3") == Written(("python3",), ())


def test_a_kernelspec_that_leads_back_to_this_machine_is_left_out(folder: Path) -> None:
    specs = {"ir": spec(), "python3": spec(metadata={"clinder": {"bridge": True}})}
    assert write(folder, specs) == Written(("ir",), ("python3",))


@pytest.mark.parametrize("name", ["../evil", "a/b", "", ".", "..", "x" * 201, "a b"])
def test_a_name_that_is_no_kernelspec_name_is_left_out(folder: Path, name: str) -> None:
    assert write(folder, {name: spec(), "ir": spec()}) == Written(("ir",), ("python3",))


@pytest.mark.posix
def test_only_the_owner_can_read_the_token(folder: Path) -> None:
    write(folder, {"ir": spec()})
    holders = [path for path in folder.rglob("*") if path.is_file() and TOKEN in path.read_text()]
    assert [stat.S_IMODE(path.stat().st_mode) for path in holders] == [0o600]


def test_a_jupyter_client_prefers_them_to_every_local_kernelspec(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    local = tmp_path / "data" / "kernels" / "python3"
    local.mkdir(parents=True)
    (local / "kernel.json").write_text(json.dumps({"argv": [], "display_name": "here"}))
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("JUPYTER_PATH", os.pathsep.join([str(folder), str(tmp_path / "data")]))
    write(folder, {"python3": spec(display_name="there")})
    assert KernelSpecManager().get_kernel_spec("python3").display_name == "there"


def test_local_names_come_from_every_folder_that_jupyter_searches(tmp_path: Path) -> None:
    def add(*parts: str) -> Path:
        path = tmp_path.joinpath(*parts, "kernel.json")
        path.parent.mkdir(parents=True)
        path.write_text("{}")
        return path

    add("extra", "kernels", "one")
    add("home", ".local", "share", "jupyter", "kernels", "Two")
    add("data", "kernels", "three")
    add("env", "share", "jupyter", "kernels", "four")
    add("venv", "share", "jupyter", "kernels", "five")
    environ = {
        "JUPYTER_PATH": str(tmp_path / "extra"),
        "JUPYTER_DATA_DIR": str(tmp_path / "data"),
        "HOME": str(tmp_path / "home"),
        "VIRTUAL_ENV": str(tmp_path / "venv"),
    }
    names = local_names(environ, [str(tmp_path / "env" / "bin" / "jupyter")])
    assert names >= {"one", "two", "three", "four", "five"}


def test_the_embedded_hub_s_servers_do_not_inherit_bridges(folder: Path) -> None:
    write(folder, {"ir": spec()})
    path = os.pathsep.join([str(folder), "/elsewhere"])
    assert server_environ({"JUPYTER_PATH": path}) == {"JUPYTER_PATH": "/elsewhere"}


def test_a_refused_kernelspec_explains_itself_and_fails(folder: Path) -> None:
    write(folder, {"ir": spec()}, "conda-base-py")
    argv = kernel_json(folder, "conda-base-py")["argv"]
    ended = subprocess.run(
        [sys.executable, *argv[1:], "connection.json"], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 1
    assert "The session has no kernelspec 'conda-base-py'" in ended.stderr
    assert "The session has: ir." in ended.stderr
    assert "--no-kernels" in ended.stderr


def test_a_kernel_whose_session_has_ended_explains_itself_and_fails(folder: Path) -> None:
    write(folder, {"ir": spec()})
    argv = kernel_json(folder, "ir")["argv"]
    (folder / "clinder-bridge.json").unlink()
    ended = subprocess.run(
        [sys.executable, *argv[1:], "connection.json"], capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stderr) == (1, "clinder: This kernel's session has ended.\n")


def test_a_kernel_whose_port_is_taken_explains_itself_and_fails(
    folder: Path, tmp_path: Path
) -> None:
    write(folder, {"ir": spec()})
    connection = tmp_path / "connection.json"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        fields = {"ip": "127.0.0.1", "key": "k", "hb_port": taken.getsockname()[1]}
        connection.write_text(json.dumps(fields), encoding="utf-8")
        script, *arguments, _ = kernel_json(folder, "ir")["argv"][1:]
        ended = subprocess.run(
            [sys.executable, script, *arguments, str(connection)],
            capture_output=True,
            text=True,
            check=False,
        )
    assert ended.returncode == 1
    assert ended.stderr.startswith("clinder: This kernel cannot listen for its tool: Address")
    assert "Traceback" not in ended.stderr
