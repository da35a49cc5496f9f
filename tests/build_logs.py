"""Logs of failed builds, each with its cause and the line that explains it.

The names, versions and times in these logs are made up; their shapes are those of real ones. Logs
of real hubs in ``../shared/field/builds``, next to the project, are read as well if they exist.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from clinder.launch import build_signs as causes
from clinder.launch.build_signs import Cause

GIVEN = Path(__file__).resolve().parents[2] / "shared" / "field" / "builds"
WRAPPER = (
    "Error during build: Command '['docker', 'buildx', 'build', '--progress', 'plain', '--push',"
    " '--tag', 'registry.test/image:1', '/tmp/tmpx']' returned non-zero exit status 1."
)
UPDATE = """/bin/sh -c bash -c 'time ${MAMBA_EXE} env update --file \\"environment.yml\\"'"""


@dataclass(frozen=True)
class BuildLog:
    """The last lines of a log, its cause, and the beginning of the line that explains it.

    ``only`` are lines that no hub may drop, because nothing else shows the cause.
    """

    cause: Cause
    line: str
    text: str
    only: tuple[str, ...] = ()

    @property
    def lines(self) -> list[str]:
        """The lines as a hub sends them, without the empty ones."""
        return [line for line in self.text.split("\n") if line.strip()]


def ended(code: int, command: str = UPDATE, step: str = "#9 31.0") -> str:
    """What BuildKit reports about a command that failed, and repo2docker about BuildKit."""
    number = step.split(maxsplit=1)[0]
    return f"""
{number} ERROR: process "{command}" did not complete successfully: exit code: {code}
------
 > [5/7] RUN bash -c 'time ${{MAMBA_EXE}} env update --file "environment.yml"':
31.0 the same output, repeated
------
Dockerfile:88
--------------------
  87 |     USER ${{NB_USER}}
  88 | >>> RUN bash -c 'time ${{MAMBA_EXE}} env update --file "environment.yml"'
  89 |
--------------------
ERROR: failed to solve: process "{command}" did not complete successfully: exit code: {code}
{WRAPPER}
"""


START = """\
Picked Git content provider.
Cloning into '/tmp/repo2dockerabc'...
HEAD is now at 1f1f1f1 a commit
Using CondaBuildPack builder
#0 building with "default" instance using docker driver
#3 [internal] load .dockerignore
#3 DONE 0.1s
#8 [4/7] COPY --chown=1000:1000 environment.yml environment.yml
#8 CACHED
#9 [5/7] RUN bash -c 'time ${MAMBA_EXE} env update --file "environment.yml"'
"""
LINKING = """\
#9 28.11 Linking alpha-1.0-h0_0
#9 28.40 Linking beta-2.1-py311h1_0
#9 28.41 Linking gamma-0.3-pyhd_0
"""
DIED = causes.BUILDER_DIED
MIRROR = causes.MIRROR_UNREACHABLE

LOGS = {
    # The builder died.
    "breaks off": BuildLog(
        DIED, "Linking gamma-0.3-pyhd_0", START + LINKING + WRAPPER, ("Linking gamma",)
    ),
    "breaks off in a table": BuildLog(
        DIED,
        "Total download: 12MB",
        START + "#9 30.2  + alpha  1.0  h0_0  conda-forge  3MB\n#9 30.2  Total download: 12MB\n"
        "#9 30.2 ──────────────────────\n#9 30.2\n" + WRAPPER,
        ("Total download",),
    ),
    "breaks off in a step's first line": BuildLog(
        DIED, "[5/7] RUN bash -c", START + "#9 0.21\n" + WRAPPER, ("[5/7] RUN",)
    ),
    "breaks off while pushing": BuildLog(
        DIED,
        "pushing layer 0123 8.1MB / 90MB 2.1s",
        START + "#12 pushing layer 4567 1.2s done\n#12 pushing layer 0123 8.1MB / 90MB 2.1s",
        ("pushing layer 0123",),
    ),
    "rpc error": BuildLog(
        DIED,
        "ERROR: failed to receive status: rpc error: code = Unavailable",
        START
        + LINKING
        + "ERROR: failed to receive status: rpc error: code = Unavailable desc = error reading"
        " from server: EOF\n" + WRAPPER,
        ("rpc error",),
    ),
    "rpc error of a newer buildx": BuildLog(
        DIED,
        "ERROR: failed to build: failed to receive status: rpc error",
        START + "ERROR: failed to build: failed to receive status: rpc error: code = Unavailable"
        " desc = closing transport due to: connection error",
        ("rpc error",),
    ),
    "cancelled by the builder": BuildLog(
        DIED,
        'ERROR: process "/bin/sh -c make"',
        START + LINKING + '#9 ERROR: process "/bin/sh -c make" did not complete successfully:'
        " exit code: 137: context canceled",
        ("context canceled",),
    ),
    "no daemon": BuildLog(
        DIED,
        "ERROR: Cannot connect to the Docker daemon",
        "Using PythonBuildPack builder\nERROR: Cannot connect to the Docker daemon at"
        " unix:///var/run/docker.sock. Is the docker daemon running?\n" + WRAPPER,
        ("Cannot connect",),
    ),
    "an overloaded daemon": BuildLog(
        DIED,
        "UnixHTTPConnectionPool(host='localhost', port=None): Read timed out.",
        "Using PythonBuildPack builder\nStep 3/40 : RUN make\n ---> Running in 0123\n"
        "Error during build: UnixHTTPConnectionPool(host='localhost', port=None): Read timed out.",
        ("UnixHTTPConnectionPool",),
    ),
    "a builder that is not set up": BuildLog(
        DIED,
        "ERROR: mkdir /root/.docker/buildx: read-only file system",
        "Using DockerBuildPack builder\nERROR: mkdir /root/.docker/buildx: read-only file system\n"
        + WRAPPER,
        ("read-only",),
    ),
    "pip warned, then the builder died": BuildLog(
        DIED,
        "Linking gamma-0.3-pyhd_0",
        START + "#9 20.0 ERROR: pip's dependency resolver does not currently take into account all"
        " the packages that are installed.\n#9 20.1 ERROR: Failed building wheel for alpha\n"
        "#9 20.2 WARNING: Retrying (Retry(total=3, connect=None)) after connection broken by"
        " 'ReadTimeoutError(\"Read timed out.\")': /simple/alpha/\n" + LINKING,
        ("Linking gamma",),
    ),
    "nothing at all": BuildLog(DIED, "", ""),
    "only the wrapper": BuildLog(DIED, "", WRAPPER),
    # The environment.
    "a private repository": BuildLog(
        causes.PRIVATE,
        "fatal: could not read Username for 'https://git.test': No such device or address",
        START + LINKING + "#9 30.5   error: subprocess-exited-with-error\n"
        "#9 30.5   ╰─> [1 lines of output]\n"
        "#9 30.5       fatal: could not read Username for 'https://git.test': No such device or"
        " address\n#9 30.5       [end of output]\n"
        "#9 30.6   note: This error originates from a subprocess.\n#9 30.7 time: 30.412" + ended(1),
        ("could not read",),
    ),
    "pip failed within mamba": BuildLog(
        causes.ENVIRONMENT,
        "critical libmamba pip failed to update packages",
        START + LINKING + "#9 30.9 critical libmamba pip failed to update packages" + ended(1),
        ("critical libmamba",),
    ),
    "only mamba's own line is left": BuildLog(
        causes.ENVIRONMENT,
        "critical libmamba pip failed to update packages",
        START + LINKING + "#9 30.9 critical libmamba pip failed to update packages\n" + WRAPPER,
        ("critical libmamba",),
    ),
    "out of memory": BuildLog(
        causes.OUT_OF_MEMORY,
        'ERROR: failed to solve: process "/bin/sh -c',
        START + LINKING + "#9 30.9 bash: line 1:     9 Killed   mamba env update" + ended(137),
    ),
    "out of memory, without the exit code": BuildLog(
        causes.OUT_OF_MEMORY,
        "bash: line 1:     9 Killed",
        START + LINKING + "#9 30.9 bash: line 1:     9 Killed   mamba env update\n" + WRAPPER,
        ("Killed",),
    ),
    "the compiler ran out of memory": BuildLog(
        causes.OUT_OF_MEMORY,
        "c++: fatal error: Killed signal terminated program cc1plus",
        START + "#9 30.9 c++: fatal error: Killed signal terminated program cc1plus" + ended(1),
        ("Killed signal",),
    ),
    "the disk is full": BuildLog(
        causes.DISK_FULL,
        "error    libmamba Could not write archive: No space left on device",
        START
        + LINKING
        + "#9 30.9 error    libmamba Could not write archive: No space left on device"
        + ended(1),
        ("No space left",),
    ),
    "no such package in a channel": BuildLog(
        causes.PACKAGE_MISSING,
        "nope >=9 does not exist (perhaps a typo or a missing channel).",
        START + "#9 12.1 error    libmamba Could not solve for environment specs\n"
        "#9 12.1     The following package could not be installed\n"
        "#9 12.1     └─ nope >=9 does not exist (perhaps a typo or a missing channel).\n"
        "#9 12.1 critical libmamba Could not solve for environment specs" + ended(1),
        ("does not exist",),
    ),
    "no such version on PyPI": BuildLog(
        causes.PACKAGE_MISSING,
        "ERROR: Could not find a version that satisfies the requirement nope==9",
        START + "#9 3.0 WARNING: Retrying (Retry(total=4, connect=None)) after connection broken by"
        " 'NewConnectionError()': /simple/alpha/\n"
        "#9 3.1 ERROR: Could not find a version that satisfies the requirement nope==9 (from"
        " versions: 1.0, 1.1)\n#9 3.1 ERROR: No matching distribution found for nope==9" + ended(1),
        ("from versions",),
    ),
    "no such package on PyPI": BuildLog(
        causes.PACKAGE_MISSING,
        "ERROR: Could not find a version that satisfies the requirement nope (from versions: none)",
        START + "#9 3.1 ERROR: Could not find a version that satisfies the requirement nope (from"
        " versions: none)\n#9 3.1 ERROR: No matching distribution found for nope" + ended(1),
        ("from versions",),
    ),
    "no such Debian package": BuildLog(
        causes.PACKAGE_MISSING,
        "E: Unable to locate package nope",
        START + "#9 9.1 E: Unable to locate package nope" + ended(100, "/bin/sh -c apt-get"),
        ("Unable to locate",),
    ),
    "no such R package": BuildLog(
        causes.PACKAGE_MISSING,
        "Error in loadNamespace(x) : there is no package called 'nope'",
        START + "#9 9.1 Warning message:\n#9 9.1 package 'nope' is not available for this version"
        " of R\n#9 9.2 Error in loadNamespace(x) : there is no package called 'nope'\n"
        "#9 9.2 Execution halted" + ended(1),
        ("no package called",),
    ),
    "a file of the Dockerfile does not exist": BuildLog(
        causes.PACKAGE_MISSING,
        "ERROR: failed to solve: failed to compute cache key",
        "#5 [2/3] COPY nope /nope\nDockerfile:2\n--------------------\n   2 | >>> COPY nope /nope\n"
        "--------------------\nERROR: failed to solve: failed to compute cache key: failed to"
        ' calculate checksum of ref 0::1: "/nope": not found\n' + WRAPPER,
        ("failed to compute",),
    ),
    "versions that do not fit together": BuildLog(
        causes.CONFLICT,
        "alpha 1.0 would require beta <2, which conflicts with any installable versions",
        START + "#9 12.1 error    libmamba Could not solve for environment specs\n"
        "#9 12.1     ├─ beta 2.1** is requested and can be installed;\n"
        "#9 12.1     └─ alpha 1.0 would require beta <2, which conflicts with any installable"
        " versions previously reported.\n#9 12.1 critical libmamba Could not solve for environment"
        " specs" + ended(1),
        ("conflicts with",),
    ),
    "uv finds no solution": BuildLog(
        causes.CONFLICT,
        "Because alpha==1.0 depends on beta<2 and you require beta>=2",
        "#7 1.2   \xd7 No solution found when resolving dependencies:\n"
        "#7 1.2   ╰─▶ Because alpha==1.0 depends on beta<2 and you require beta>=2, we can conclude"
        " that your requirements are unsatisfiable." + ended(1, "uv pip install", "#7 1.3"),
        ("Because",),
    ),
    "a script of the repository fails": BuildLog(
        causes.ENVIRONMENT,
        "ModuleNotFoundError: No module named 'nope'",
        "#14 [7/7] RUN ./postBuild\n#14 0.4 Traceback (most recent call last):\n"
        '#14 0.4   File "prepare.py", line 1, in <module>\n'
        "#14 0.4 ModuleNotFoundError: No module named 'nope'" + ended(1, "./postBuild", "#14 0.4"),
        ("ModuleNotFoundError",),
    ),
    "a script's own database refuses connections": BuildLog(
        causes.ENVIRONMENT,
        "OperationalError: connection to server at localhost failed: Connection refused",
        "#14 [7/7] RUN ./postBuild\n#14 0.4 OperationalError: connection to server at localhost"
        " failed: Connection refused" + ended(1, "./postBuild", "#14 0.4"),
        ("OperationalError",),
    ),
    "a script fails without a word": BuildLog(
        causes.ENVIRONMENT,
        'ERROR: process "./postBuild"',
        '#14 ERROR: process "./postBuild" did not complete successfully: exit code: 3\n' + WRAPPER,
        ("exit code",),
    ),
    "an unreadable environment file": BuildLog(
        causes.ENVIRONMENT,
        "mapping values are not allowed here",
        "Picked Git content provider.\nHEAD is now at 1f1f1f1 x\n"
        "Error during build: mapping values are not allowed here",
        ("mapping values",),
    ),
    "an older Docker": BuildLog(
        causes.ENVIRONMENT,
        "make: *** [all] Error 2",
        "Step 3/40 : RUN make\n ---> Running in 0123\nmake: *** [all] Error 2\n"
        "Removing intermediate container 0123\n"
        "The command '/bin/sh -c make' returned a non-zero code: 2",
        ("Error 2", "non-zero code"),
    ),
    "an older BuildKit": BuildLog(
        causes.OUT_OF_MEMORY,
        "failed to solve: rpc error: code = Unknown desc = executor failed running",
        "#9 [5/7] RUN make\n#9 9.9 gcc main.c\nfailed to solve: rpc error: code = Unknown desc ="
        " executor failed running [/bin/sh -c make]: exit code: 137",
        ("exit code",),
    ),
    "Podman": BuildLog(
        causes.ENVIRONMENT,
        "make: *** No rule to make target 'all'.",
        "STEP 3/9: RUN make\nmake: *** No rule to make target 'all'.\n"
        'Error: building at STEP "RUN make": while running runtime: exit status 2',
        ("No rule", "running runtime"),
    ),
    "kaniko": BuildLog(
        causes.OUT_OF_MEMORY,
        "error building image: error building stage: failed to execute command",
        "INFO[0037] RUN make\nerror building image: error building stage: failed to execute"
        " command: waiting for process to exit: signal: killed",
        ("signal: killed",),
    ),
    # The commit.
    "a commit that is on no branch": BuildLog(
        causes.COMMIT_MISSING,
        "fatal: Could not parse object '2e2e2e'.",
        "Picked Git content provider.\nCloning into '/tmp/repo2dockerabc'...\n"
        "fatal: Could not parse object '2e2e2e'.\nError during build: Command '['git', 'reset',"
        " '--hard', '2e2e2e']' returned non-zero exit status 128.",
    ),
    "a commit that is on no branch, with git's message lost": BuildLog(
        causes.COMMIT_MISSING,
        "Command '['git', 'reset', '--hard', '2e2e2e']' returned",
        "Picked Git content provider.\nCloning into '/tmp/repo2dockerabc'...\n"
        "Error during build: Command '['git', 'reset', '--hard', '2e2e2e']' returned non-zero exit"
        " status 128.",
    ),
    "a script that resets to a missing commit": BuildLog(
        causes.ENVIRONMENT,
        "fatal: Could not parse object '2e2e2e'.",
        START + "#9 9.1 fatal: Could not parse object '2e2e2e'.\n" + ended(128, "./postBuild"),
        ("Could not parse", "exit code"),
    ),
    "a commit that cannot be checked out": BuildLog(
        causes.COMMIT_MISSING,
        "Failed to check out ref 2e2e2e",
        "Picked Git content provider.\nCloning into '/tmp/repo2dockerabc'...\n"
        "Failed to check out ref 2e2e2e",
        ("Failed to check out",),
    ),
    "a submodule's commit": BuildLog(
        causes.ENVIRONMENT,
        "fatal: Fetched in submodule path 'sub', but it did not contain 2e2e2e.",
        "Cloning into '/tmp/repo2dockerabc/sub'...\nfatal: remote error: upload-pack: not our ref"
        " 2e2e2e\nfatal: Fetched in submodule path 'sub', but it did not contain 2e2e2e. Direct"
        " fetching of that commit failed.\nError during build: Command '['git', 'submodule',"
        " 'update', '--init', '--recursive']' returned non-zero exit status 1.",
        ("Direct fetching", "'submodule'"),
    ),
    # A server was unreachable.
    "apt": BuildLog(
        MIRROR,
        "W: Failed to fetch http://deb.test/dists/x/InRelease  Could not connect to deb.test:80",
        START + "#9 60.1 W: Failed to fetch http://deb.test/dists/x/InRelease  Could not connect to"
        " deb.test:80 (192.0.2.7), connection timed out\n"
        "#9 60.1 W: Some index files failed to download. They have been ignored.\n"
        "#9 60.2 E: Package 'less' has no installation candidate" + ended(100, "/bin/sh -c apt"),
        ("Failed to fetch",),
    ),
    "apt, without what follows": BuildLog(
        MIRROR,
        "W: Failed to fetch http://deb.test/dists/x/InRelease  Unable to connect to deb.test:http:",
        START + "#9 60.1 W: Failed to fetch http://deb.test/dists/x/InRelease  Unable to connect to"
        " deb.test:http:\n#9 60.2 E: Package 'less' has no installation candidate\n" + WRAPPER,
        ("Failed to fetch",),
    ),
    "PyPI": BuildLog(
        MIRROR,
        "WARNING: Retrying (Retry(total=0, connect=None",
        START
        + "".join(
            f"#9 {9 - left}.1 WARNING: Retrying (Retry(total={left}, connect=None)) after"
            " connection broken by 'NewConnectionError()': /simple/alpha/\n"
            for left in (4, 3, 2, 1, 0)
        )
        + "#9 9.9 ERROR: No matching distribution found for alpha"
        + ended(1),
        ("total=0",),
    ),
    "PyPI, with the last warning lost": BuildLog(
        MIRROR,
        "WARNING: Retrying (Retry(total=4",
        START + "#9 1.1 WARNING: Retrying (Retry(total=4, connect=None)) after connection broken by"
        " 'NewConnectionError()': /simple/alpha/\n"
        "#9 9.9 ERROR: No matching distribution found for alpha" + ended(1),
        ("total=4",),
    ),
    "conda": BuildLog(
        MIRROR,
        "Download error (6) Couldn't resolve host name",
        START + "#9 9.1 critical libmamba Multiple errors occurred:\n"
        "#9 9.1     Download error (6) Couldn't resolve host name"
        " [https://conda.test/noarch/repodata.json.zst]\n"
        "#9 9.1     Subdir conda-test/noarch not loaded!" + ended(1),
        ("Download error",),
    ),
    "CRAN": BuildLog(
        MIRROR,
        "Warning: unable to access index for repository https://cran.test/src/contrib:",
        "#11 [6/8] RUN R --quiet -f install.R\n"
        "#11 9.1 Warning: unable to access index for repository https://cran.test/src/contrib:\n"
        "#11 9.1   cannot open URL 'https://cran.test/src/contrib/PACKAGES'\n"
        "#11 9.2 Error in library(alpha) : there is no package called 'alpha'\n"
        "#11 9.2 Execution halted" + ended(1, "R --quiet -f install.R", "#11 9.2"),
        ("unable to access index",),
    ),
    "Julia": BuildLog(
        MIRROR,
        "Warning: could not download https://pkg.test/registries",
        "#11 1.2 ┌ Warning: could not download https://pkg.test/registries\n"
        "#11 1.2 │   exception = RequestError: Could not resolve host: pkg.test\n"
        "#11 1.2 └ @ Pkg.Registry Registry.jl:68" + ended(1, "julia -e 1", "#11 1.2"),
        ("could not download",),
    ),
    "git": BuildLog(
        MIRROR,
        "fatal: unable to access 'https://git.test/a/b.git/': Failed to connect to git.test",
        START
        + "#9 9.1       fatal: unable to access 'https://git.test/a/b.git/': Failed to connect"
        " to git.test port 443 after 134000 ms" + ended(1),
        ("unable to access",),
    ),
    "the repository's own host": BuildLog(
        MIRROR,
        "fatal: unable to access 'https://git.test/a/b/': Could not resolve host: git.test",
        "Cloning into '/tmp/repo2dockerabc'...\nfatal: unable to access 'https://git.test/a/b/':"
        " Could not resolve host: git.test\nError during build: Failed to clone repository from"
        " https://git.test/a/b (ref 1f1f).",
        ("unable to access", "Failed to clone"),
    ),
    "a clone that fails without a reason": BuildLog(
        MIRROR,
        "Failed to clone repository from https://git.test/a/b (ref 1f1f).",
        "Cloning into '/tmp/repo2dockerabc'...\nError during build: Failed to clone repository from"
        " https://git.test/a/b (ref 1f1f).",
        ("Failed to clone",),
    ),
    "repo2docker's own request": BuildLog(
        MIRROR,
        "HTTPSConnectionPool(host='list.test', port=443): Max retries exceeded with url: /data",
        "Error during build: HTTPSConnectionPool(host='list.test', port=443): Max retries exceeded"
        " with url: /data (Caused by NameResolutionError())",
        ("Max retries",),
    ),
    "the registry, when pushing": BuildLog(
        MIRROR,
        "ERROR: failed to push registry.test/image:1: unexpected status from PUT request",
        START + "#12 pushing layers 20.1s done\n#12 ERROR: failed to push registry.test/image:1:"
        " unexpected status from PUT request to https://registry.test/v2/: 502 Bad Gateway\n"
        "------\n > exporting to image:\n------\n" + WRAPPER,
        ("failed to push",),
    ),
    "the registry, when pulling": BuildLog(
        MIRROR,
        "ERROR: failed to solve: base.test/image:1: failed to resolve source metadata",
        "#2 [internal] load metadata for base.test/image:1\nDockerfile:1\n--------------------\n"
        "   1 | >>> FROM base.test/image:1\n--------------------\n"
        "ERROR: failed to solve: base.test/image:1: failed to resolve source metadata for"
        " base.test/image:1: failed to do request: Head https://base.test/v2/: dial tcp: lookup"
        " base.test: i/o timeout\n" + WRAPPER,
        ("failed to solve",),
    ),
    # The image was built.
    "the server never answers": BuildLog(
        causes.LAUNCH_FAILED,
        "Spawn failed: Server at http://192.0.2.7:8888/user/x/api didn't respond in 60 seconds",
        "Server requested\n[Normal] Started container notebook\nSpawn failed: Server at"
        " http://192.0.2.7:8888/user/x/api didn't respond in 60 seconds",
        ("Spawn failed",),
    ),
}

_CLASSES = {
    "builder-died": causes.BUILDER_DIED,
    "builder-gone": causes.BUILDER_DIED,
    "environment-1": causes.PRIVATE,
    "environment-2": causes.ENVIRONMENT,
    "mirror": causes.MIRROR_UNREACHABLE,
    "never-answers": causes.LAUNCH_FAILED,
}


def read_given() -> dict[str, BuildLog]:
    """Return the given logs whose builds ended, by their names; their class is in the name."""
    logs = {}
    for path in sorted(GIVEN.glob("*.log")):
        cause = next((_CLASSES[each] for each in _CLASSES if path.stem.startswith(each)), None)
        lines = (line.partition("\t")[2] for line in path.read_text("utf-8").split("\n"))
        if cause:
            logs[path.stem] = BuildLog(cause, "", "\n".join(lines))
    return logs
