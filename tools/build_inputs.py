"""Print what the repo2docker build of each folder depends on, as one JSON object a line.

    python build_inputs.py [ORG/REPO…] < FOLDERS

Each line of standard input is a folder and, after a tab, a hash of all its files. The arguments are
the names of the repository. This needs an environment with repo2docker, and not clinder: it is a
second opinion, which begins with the Dockerfile that repo2docker renders.

A build step depends on the files that repo2docker copies before it. A step that runs after the
whole repository was copied depends on the files that its tool reads, according to the tool's own
parser if there is one. If that is unknown, it depends on all files. The copy of the whole
repository is not a step, because any two commits differ in it.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import shlex
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import bashlex
import bashlex.ast
import toml
from dockerfile_parse import DockerfileParser
from pip._internal.req import req_file as pip_parser
from repo2docker.app import Repo2Docker
from repo2docker.buildpacks import (
    DockerBuildPack,
    JuliaProjectTomlBuildPack,
    NixBuildPack,
    RBuildPack,
)
from ruamel.yaml import YAML

HERE = Path()
_NOT_SETTINGS = re.compile(
    r"\.(?:git|gitignore|gitmodules|gitkeep|git-blame[\w-]*|(?:github|gitlab|circleci|travis|azure|appveyor|devcontainer|vscode|idea|husky|yarn"
    r"|binder|docker|container|pre-commit|readthedocs|zenodo|mergify|codecov|cover|pylint|flake8"
    r"|isort|mypy|ruff|editorconfig|prettier|eslint|style|lint|markdown|mdformat|link|lychee|license"
    r"|mailmap|nojekyll|all-contributors|ipynb_checkpoints|DS_Store|credits|Julia|jscpd|bump|tx|code"
    r"|pep8|lgtm|nblink|typos|cirun|nvmrc|node|python-version|packit|jupyterlite|sourcery|pyup|ci|env"
    r")[\w.-]*)"
)
"""Files at the root that begin with a dot, but that no tool reads in a build or a session."""


class Inputs:
    """The inputs of the build of the current folder: the hashes of files, by their paths.

    ``.`` is the whole repository. ``own`` are the repository's names.
    """

    def __init__(self, all_files: str, own: Iterable[str]):
        self.all_files, self.own = all_files, own
        self.hashes: dict[str, str] = {}
        self.scripts: set[Path] = set()

    def add(self, path: Path) -> None:
        """Add a file, everything in a folder, or the absence of both."""
        target, root = path.resolve(), HERE.resolve()
        if target == root or not target.is_relative_to(root):
            self.add_all_files()
        elif path.is_dir():
            self.hashes[os.path.normpath(path)] = "folder"
            for each in path.rglob("*"):
                if each.is_file():
                    self.hashes[os.path.normpath(each)] = _hash(each)
        else:
            self.hashes[os.path.normpath(path)] = _hash(path) if path.is_file() else "absent"

    def add_if_present(self, *paths: Path) -> None:
        """Add the files and folders that exist."""
        for path in paths:
            if path.exists():
                self.add(path)

    def add_all_files(self) -> None:
        """Add the whole repository."""
        self.hashes["."] = self.all_files

    def add_settings(self) -> None:
        """Add what tools read in their home directory or their current folder."""
        for path in HERE.iterdir():
            is_hidden = path.name.startswith(".") and not _NOT_SETTINGS.fullmatch(path.name)
            if is_hidden or re.fullmatch(r"jupyter_.*config\.(?:py|json)", path.name):
                self.add(path)

    def read(self, path: Path) -> str:
        """Add a file and return its text. If it refers to the repository itself, add everything."""
        self.add(path)
        text = path.read_text("utf-8", "replace") if path.is_file() else ""
        lines = text.lower().replace("%2f", "/").splitlines()
        if any(_refers(line, name.lower()) for line in lines for name in self.own):
            self.add_all_files()
        return text


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() + oct(path.stat().st_mode & 0o100)


def _refers(line: str, name: str) -> bool:
    """Return whether a line has an address of a repository, but no commit."""
    if line.lstrip().startswith("#") or re.search(r"\b[0-9a-f]{40}\b", line):
        return False
    owner, _, repository = map(re.escape, name.partition("/"))
    pages = rf"\b{owner}\.[\w.-]+/{repository}\b"
    return bool(re.search(rf"\b{re.escape(name)}(?:\.git)?(?![\w-]|\.\w)|{pages}", line))


# What the tools of repo2docker's steps read


def add_requirements(inputs: Inputs, path: Path) -> None:
    """Add a file of requirements, and what it names."""
    add_requirement_lines(inputs, inputs.read(path), path, HERE)


def add_requirement_lines(inputs: Inputs, text: str, path: Path, current: Path) -> None:
    """Add what requirements at a path name; projects are relative to pip's current folder."""

    def read(location: str, *_: object, **__: object) -> tuple[str, str]:
        if Path(location) == path:
            return location, text
        is_url = re.match(r"[a-z]+://", location)
        file = Path(os.path.relpath(location))
        return location, "" if is_url else inputs.read(file)

    module: Any = pip_parser
    module.get_file_content = read
    parser = module.RequirementsFileParser(None, module.get_line_parser(None))
    for each in parser.parse(str(path), False):
        for value in each.opts.find_links:
            inputs.add_if_present(Path(each.filename).parent / value, current / value)
        line = each.requirement or ""
        target = line.partition(" @ ")[2] or line
        target = re.sub(r"^file:(?://)?|\s*;.*|\[[^\]]*\]$", "", target.strip())
        is_path = re.search(r"^\.|/|\.(?:whl|zip|tar|tgz|gz|bz2)$", target)
        if is_path and "://" not in target:
            inputs.add_if_present(current / target)


def add_conda(inputs: Inputs, path: Path) -> None:
    """Add an ``environment.yml``, and what it names."""
    environment = YAML(typ="safe").load(inputs.read(path)) or {}
    for channel in environment.get("channels") or ():
        inputs.add_if_present(HERE / str(channel).removeprefix("file://"))
    for each in environment.get("dependencies") or ():
        if isinstance(each, dict):
            lines = "\n".join(map(str, each.get("pip") or ()))
            add_requirement_lines(inputs, lines, path.with_name("mambaf"), path.parent)
        elif "/" in str(each) or str(each).endswith((".conda", ".bz2")):
            inputs.add_if_present(HERE / str(each))


def add_pipenv(inputs: Inputs, folder: Path) -> None:
    """Add a ``Pipfile`` and its lock, for which pipenv also searches the parent folders."""
    found = next((each for each in (folder, HERE) if (each / "Pipfile").is_file()), folder)
    for name in ("Pipfile", "Pipfile.lock"):
        text = inputs.read(found / name)
        for value in re.findall(r"\b(?:path|file)\b[\"']?\s*[=:]\s*[\"']([^\"']+)", text):
            if "://" not in value:
                inputs.add(found / value)


_PROJECTS = ("JuliaProject.toml", "Project.toml")
_BESIDE_PROJECT = (
    "JuliaLocalPreferences.toml", "LocalPreferences.toml", "Artifacts.toml", "JuliaArtifacts.toml",
    "CondaPkg.toml",
)  # fmt: skip


def add_julia(inputs: Inputs, folder: Path) -> None:
    """Add a Julia project, and the workspace that includes it."""
    inputs.add_if_present(*(folder / name for name in _BESIDE_PROJECT))
    if (folder / ".pkg" / "select_artifacts.jl").is_file():
        inputs.add_all_files()
    add_julia_project(inputs, folder)
    if any("workspace" in _load(folder / name) for name in _PROJECTS):
        inputs.add_all_files()
    base: dict[str, Any] = next(
        (toml.load(HERE / name) for name in _PROJECTS if (HERE / name).is_file()), {}
    )
    members = [HERE / each for each in base.get("workspace", {}).get("projects", ())]
    if folder in members:
        for each in (HERE, *members):
            add_julia_project(inputs, each)


def add_julia_project(inputs: Inputs, folder: Path) -> None:
    """Add a project and its manifests; a package or a path needs more."""
    names = (*_PROJECTS, *(each.name for each in folder.glob("*Manifest*.toml")))
    for path in (folder / name for name in names if (folder / name).is_file()):
        inputs.read(path)
        project = _load(path)
        if "uuid" in project or "manifest" in project:
            inputs.add_all_files()
        for value in _values(project, "path"):
            inputs.add(folder / value)


def _load(path: Path) -> dict[str, Any]:
    return toml.load(path) if path.is_file() else {}


def _values(data: object, key: str) -> Iterator[str]:
    if isinstance(data, dict):
        yield from (value for name, value in data.items() if name == key)
    for each in data.values() if isinstance(data, dict) else data if isinstance(data, list) else ():
        yield from _values(each, key)


_READING_R = re.compile(
    r"\b(?:source|system2?|install_local|install|restore|readLines|file|read\.\w+)\s*\("
)


def add_r(inputs: Inputs, path: Path) -> None:
    """Add a script in R, and the files that it names."""
    text = inputs.read(path)
    if _READING_R.search(text):
        inputs.add_all_files()
    inputs.add_if_present(*(HERE / each for each in re.findall(r"[\"']([^\"'\n]+)[\"']", text)))


def add_nix(inputs: Inputs, path: Path) -> None:
    """Add a Nix expression, and its paths."""
    text = re.sub(r"#.*|\w+://\S+|<[^>]*>", "", inputs.read(path))
    for value in re.findall(r"[\w.+-]*/[\w./+-]*", text):
        inputs.add(path.parent / value)


def add_everything(inputs: Inputs, _: Path) -> None:
    """Add the whole repository."""
    inputs.add_all_files()


# Scripts

_READ_ONLY_ARGUMENTS = {
    "set", "echo", "true", ":", "export", "exec", "mkdir", "cp", "mv", "ln", "chmod", "sed", "pip",
    "pip3", "conda", "mamba", "micromamba", "jupyter",
}  # fmt: skip
"""Programs that read nothing but what their arguments name."""
_SHELLS = {"source", ".", "bash", "sh"}
_SHELL_SCRIPT = re.compile(r"(?!#!)|#!.*\b(?:ba|da|z)?sh\b")
_WITH_REQUIREMENTS = re.compile(r"(?:-[rc]|--(?:requirement|constraint))(?:[ =]|$)")


def add_script(inputs: Inputs, path: Path) -> None:
    """Add a shell script, and what its commands read."""
    text = inputs.read(path)
    if path in inputs.scripts or not text:
        return
    inputs.scripts.add(path)
    is_empty = not re.search(r"(?m)^[ \t]*[^#\s]", text)
    try:
        trees = [] if is_empty else bashlex.parse(text) if _SHELL_SCRIPT.match(text) else [None]
        commands = [command for tree in trees for command in _commands(tree)]
    except Exception:  # noqa: BLE001 - whatever the parser raises, it does not understand the script
        inputs.add_all_files()
        return
    for words in filter(None, commands):
        add_command(inputs, *words)


class _Commands(bashlex.ast.nodevisitor):  # type: ignore[misc] # it has no types
    def __init__(self) -> None:
        self.found: list[list[str]] = []

    def visitcommand(self, _: object, parts: Iterable[Any]) -> None:
        self.found.append([part.word for part in parts if part.kind == "word"])

    def visitredirect(self, _: object, __: object, kind: str, output: Any, *___: object) -> None:
        if kind == "<":
            self.found.append(["cp", output.word])


def _commands(tree: Any) -> list[list[str]]:
    visitor = _Commands()
    visitor.visit(tree)
    return visitor.found


def add_command(inputs: Inputs, program: str, *arguments: str) -> None:
    """Add what a command reads."""
    if program in ("python", "python3") and arguments[:2] == ("-m", "pip"):
        program, arguments = "pip", arguments[2:]
        inputs.add_if_present(*(HERE / f"{name}.py" for name in ("pip", *sys.stdlib_module_names)))
    program = program.partition("-")[0] if program.startswith("jupyter-") else program
    if program in _SHELLS and arguments:
        add_script(inputs, HERE / arguments[0])
    elif program == "Rscript" and arguments:
        add_r(inputs, HERE / arguments[0])
    elif (HERE / program).is_file():
        add_script(inputs, HERE / program)
    elif program not in _READ_ONLY_ARGUMENTS:
        inputs.add_all_files()
    elif program != "echo":
        for before, word in zip(("", *arguments), arguments, strict=False):
            add_argument(inputs, program, before, word)


def add_argument(inputs: Inputs, program: str, before: str, word: str) -> None:
    """Add a file that an argument of a command names."""
    value = word.partition("=")[2] if word.startswith("--") else word
    value = re.sub(r"^-[rcf](?=\S)|\[[^\]]*\]$", "", value)
    if program.startswith("pip") and _WITH_REQUIREMENTS.match(word if value != word else before):
        add_requirements(inputs, HERE / value)
    elif value.endswith((".yml", ".yaml")) and (HERE / value).is_file():
        add_conda(inputs, HERE / value)
    elif program in ("cp", "mv", "ln") and "$" in value:
        inputs.add_all_files()
    elif value:
        is_pattern = re.search(r"[*?]", value) and not value.startswith(("/", "s"))
        inputs.add_if_present(*(HERE.glob(value) if is_pattern else [HERE / value]))


# Dockerfiles


def _instructions(dockerfile: str) -> Iterator[tuple[str, str]]:
    """Yield the instructions of a Dockerfile and their arguments on one line."""
    parser = DockerfileParser(fileobj=io.BytesIO())
    parser.content = dockerfile
    for each in parser.structure:
        yield each["instruction"], " ".join(each["value"].split())


def add_dockerfile(inputs: Inputs, path: Path) -> None:
    """Add a repository's own Dockerfile, and what it copies."""
    text = inputs.read(path)
    inputs.add_if_present(HERE / ".dockerignore", path.with_name(f"{path.name}.dockerignore"))
    if re.search(r"(?im)^\s*#\s*(?:escape|syntax)\s*=(?!\s*docker/dockerfile)", text):
        inputs.add_all_files()
    for name, value in _instructions(text):
        is_onbuild_image = name == "FROM" and re.search("onbuild|base-image", value)
        if (
            name == "ONBUILD"
            or is_onbuild_image
            or re.search(r"--mount=(?!type=(?:cache|tmpfs))", value)
        ):
            inputs.add_all_files()
        elif name in ("COPY", "ADD") and "--from=" not in value:
            words = json.loads(value) if value.startswith("[") else shlex.split(value)
            for word in (word for word in words[:-1] if not word.startswith("--")):
                source = word.lstrip("/") or "."
                paths = list(HERE.glob(source)) if source != "." else []
                for each in paths or [HERE / source]:
                    inputs.add(each)


_STEPS: tuple[tuple[str, Callable[[Inputs, Path], None]], ...] = (
    (r"pip install --no-cache-dir -r \"(?P<path>.+?)\"", add_requirements),
    (r"pip install --no-cache-dir (?P<path>\.)$", add_everything),
    (r"env update -p \S+ --file \"(?P<path>.+?)\"", add_conda),
    (r"cd (?P<path>\S+) && .*pipenv install", add_pipenv),
    (r"julia --project=\$\{REPO_DIR\}/?(?P<path>\S*) -e", add_julia),
    (r"nix-shell (?P<path>\S+)", add_nix),
    (r"Rscript .* (?P<path>\S*install\.R)", add_r),
    (r"(?P<path>)remotes::install_local", add_everything),
    (r"^\./(?P<path>\S+)", add_script),
)
"""repo2docker's own steps that read a file or a folder of the repository."""
_READS_NOTHING = re.compile(
    r"chmod \+x|install --no-cache(?:-dir)? (?:\\ )?(?:pipenv|jupyter-)|MAMBA_EXE\} install|apt"
    r"|/etc/rstudio|/var/log/shiny|IRkernel::installspec"
)


def add_steps(inputs: Inputs, dockerfile: str) -> None:
    """Add the files that the steps of repo2docker's Dockerfile copy and read."""
    is_copied = False
    for name, value in _instructions(dockerfile):
        if name == "COPY" and (copy := re.search(r"\bsrc/(?P<path>\S*) \$", value)):
            is_copied |= not copy["path"]
            inputs.add(HERE / copy["path"]) if copy["path"] else None
        elif name == "ENV" and (start := re.search(r"R2D_ENTRYPOINT=.*REPO_DIR\}/([^\"]+)", value)):
            add_script(inputs, HERE / start[1])
        elif name == "RUN":
            found = ((re.search(pattern, value), add) for pattern, add in _STEPS)
            match, add = next((pair for pair in found if pair[0]), (None, add_everything))
            if match:
                add(inputs, HERE / match["path"])
            elif is_copied and not _READS_NOTHING.search(value):
                inputs.add_all_files()


# Folders


def describe(all_files: str, own: Iterable[str]) -> dict[str, Any]:
    """Return the Dockerfile of the current folder and the files it depends on."""
    inputs = Inputs(all_files, own)
    app = Repo2Docker()
    try:
        packs = [make("base") for make in (*app.buildpacks, app.default_buildpack)]
        pack = next((each for each in packs if each.detect()), packs[-1])
        pack.platform = "linux/amd64"
        dockerfile = pack.render({})
    except Exception as error:  # noqa: BLE001 - the build would fail, whatever repo2docker raises
        return {"refused": f"{type(error).__name__}: {error}"}
    if isinstance(pack, DockerBuildPack):
        add_dockerfile(inputs, Path(pack.binder_path("Dockerfile")))
    else:
        names = (".dockerignore", ".containerignore")
        inputs.add_if_present(*(Path(pack.binder_path(name)) for name in names))
        if isinstance(pack, NixBuildPack):  # its own entry point runs it
            add_script(inputs, Path(pack.binder_path("start")))
        add_steps(inputs, dockerfile)
        inputs.add_settings()  # also for the login shell that starts the server
    return {"pack": type(pack).__name__, "dockerfile": dockerfile, "inputs": inputs.hashes}


def main(own: Iterable[str]) -> None:
    """Describe the folders on standard input."""
    # repo2docker asks the network for these
    JuliaProjectTomlBuildPack.all_julias = ("1.6.7", "1.10.9", "1.11.5", "1.12.0")
    RBuildPack.get_rspm_snapshot_url = lambda _, date: f"https://example.org/{date}"
    for line in sys.stdin:
        folder, _, all_files = line.rstrip("\n").partition("\t")
        os.chdir(folder)
        sys.stdout.write(json.dumps(describe(all_files, own)) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
