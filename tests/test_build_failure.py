"""Why a build failed, for logs of every shape, and for each sign in the table."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from build_logs import DIED, LOGS, MIRROR, START, WRAPPER, BuildLog, ended, read_given
from clinder import errors
from clinder.launch import build_signs as causes
from clinder.launch.build_failure import (
    LINE_LIMIT,
    WINDOW,
    diagnose,
    diagnose_stall,
    find_error_line,
)
from clinder.launch.build_signs import CAUSES, SIGNS, Cause

ALL_LOGS = LOGS | read_given()
each_log = pytest.mark.parametrize("name", ALL_LOGS)


@each_log
def test_a_log_has_its_cause_and_the_line_that_explains_it(name: str) -> None:
    log = ALL_LOGS[name]
    diagnosis = diagnose(log.lines)
    assert diagnosis.cause == log.cause, diagnosis.line
    assert diagnosis.line.startswith(log.line)
    assert bool(diagnosis.line) == (name not in ("nothing at all", "only the wrapper"))
    assert not diagnosis.line or diagnosis.line in diagnosis.around


@each_log
def test_the_line_is_not_dockers_own_unless_there_is_no_other(name: str) -> None:
    diagnosis = diagnose(ALL_LOGS[name].lines)
    alone = ("out of memory", "a script fails without a word", "cancelled by the builder")
    if name not in (*alone, "an older BuildKit") and "git's message lost" not in name:
        assert not re.search(
            r'process "|Command \'\[|returned a non-zero|executor failed', diagnosis.line
        )


@each_log
def test_the_cause_depends_on_no_other_line(name: str) -> None:
    log = ALL_LOGS[name]
    needed = log.only or (diagnose(log.lines).line,)
    for number, dropped in enumerate(log.lines):
        rest = [*log.lines[:number], *log.lines[number + 1 :]]
        if not any(text and text in dropped for text in needed):
            assert diagnose(rest).cause == log.cause, f"without {dropped!r}"


@each_log
def test_the_builders_own_reports_are_not_needed(name: str) -> None:
    """Whatever a hub drops of them, the error's class stays the same."""
    log = ALL_LOGS[name]
    reports = (
        r"ERROR: process|failed to solve: process|------|>|\d+ \||Dockerfile|Error during build: C"
    )
    rest = [line for line in log.lines if not re.match(rf"(#\d+ )?\s*(?:{reports})", line)]
    kept = log.only and all(any(text in line for line in rest) for text in log.only)
    strong = log.cause in (MIRROR, causes.PRIVATE, causes.BUILDER_DIED, causes.LAUNCH_FAILED)
    if kept and strong and "with the last warning lost" not in name:
        assert diagnose(rest).cause.error is log.cause.error


# The table of signs


EXAMPLES: dict[Cause, str] = {
    causes.BUILDER_DIED: """\
        ERROR: Cannot connect to the Docker daemon at unix:///run/docker.sock.
        Error: unable to connect to Podman socket: dial unix /run/podman.sock
        error during connect: Post "http://docker/build": EOF
        Error while fetching server API version: ('Connection aborted.',)
        UnixHTTPConnectionPool(host='localhost', port=None): Read timed out.
        500 Server Error for http+docker://localhost/v1.41/build: Internal Server Error
        The docker commandline client must be installed: x
        The buildx plugin must be installed: x
        Container engine initialization error: x
        error: failed to solve: Canceled: context canceled by x
        The node was low on resource: ephemeral-storage.""",
    causes.OUT_OF_MEMORY: """\
        error building stage: failed to execute command: waiting for process to exit: signal: killed
        c++: fatal error: Killed signal terminated program cc1plus
        Killed
        /bin/sh: line 1:     7 Killed                  mamba env update
        terminate called after throwing an instance of 'std::bad_alloc'
        MemoryError
        fork: Cannot allocate memory
        Error: cannot allocate vector of size 1.2 Gb
        FATAL ERROR: Reached heap limit Allocation failed - JavaScript heap out of memory
        java.lang.OutOfMemoryError: Java heap space
        cc1: virtual memory exhausted
        LLVM ERROR: out of memory""",
    causes.DISK_FULL: """\
        OSError: [Errno 28] No space left on device
        npm ERR! ENOSPC: write
        write: Disk quota exceeded
        NoSpaceLeft: not enough free space on the device
        E: You don't have enough free space in /var/cache/apt/archives/.
        NoSpaceLeftError: x""",
    causes.COMMIT_MISSING: """\
        Failed to check out ref 2e2e
        fatal: Could not parse object '2e2e'.
        Command '['git', 'reset', '--hard', '2e2e']' returned non-zero exit status 128.""",
    causes.PRIVATE: """\
        fatal: could not read Username for 'https://git.test': terminal prompts disabled
        fatal: Authentication failed for 'https://git.test/a/b/'
        remote: Support for password authentication was removed on August 13, 2021.
        git@git.test: Permission denied (publickey).
        Host key verification failed.
        remote: Repository not found.
        fatal: repository 'https://git.test/a/b/' not found
        fatal: '/srv/a' does not appear to be a git repository
        remote: HTTP Basic: Access denied
        ERROR: failed to clone from x, error: GitError(Code:EAUTH, Class:HTTP, x)
        curl: (22) The requested URL returned error: 404
        cannot open URL 'https://cran.test/x': HTTP status was '404 Not Found'
        error: unable to download 'https://nix.test': HTTP error 404
        Caused by: HTTP status client error (401 Unauthorized) for url (https://pypi.test/x)
        2026-01-01 00:00:00 ERROR 404: Not Found.
        requests.exceptions.HTTPError: 403 Client Error: Forbidden for url
        ERROR: pull access denied for a/b, repository does not exist""",
    causes.PACKAGE_MISSING: """\
        CondaHTTPError: HTTP 404 NOT FOUND for url <https://conda.test/noarch/repodata.json>
        UnavailableInvalidChannel: HTTP 403
        The channel is not accessible or is invalid.
        error    libmamba Transfer finalized, status: 404 [https://conda.test], 9 bytes
        manifest for base.test/image:9 not found: manifest unknown
        ERROR: failed to solve: base.test/image:9: base.test/image:9: not found
        failed to compute cache key: failed to calculate checksum of ref 0::1: "/nope": not found
        nope does not exist (perhaps a typo or a missing channel).
        - nothing provides nope needed by alpha-1.0-0
        ResolvePackageNotFound:
        PackagesNotFoundError: The following packages are not available
        Because nope was not found in the package registry and you require nope
        ERROR: Could not find a version that satisfies the requirement a (from versions: 1.0)
        ERROR: expected package `Nope [1234]` to be registered
        ERROR: The following package names could not be resolved:
        npm error code E404
        fatal: reference is not a tree: 2e2e
        fatal: unable to read tree (2e2e)
        error: pathspec 'v9' did not match any file(s) known to git
        ERROR: No matching distribution found for nope
        ERROR: Could not find a version that satisfies the requirement a (from versions: none)
        E: Package 'nope' has no installation candidate
        E: Unable to locate package nope
        E: Couldn't find any package by regex 'nope'
        Error in library(nope) : there is no package called 'nope'
        ERROR: dependency 'nope' is not available for package 'alpha'""",
    causes.MIRROR_UNREACHABLE: """\
        W: Failed to fetch http://deb.test/x  Connection failed [IP: 192.0.2.7 80]
        E: Failed to fetch http://deb.test/x  Connection failed [IP: 192.0.2.7 80]
        Err:4 http://deb.test/debian x InRelease
        W: Some index files failed to download. They have been ignored, or old ones used instead.
        Temporary failure resolving 'deb.test'
        Download error (28) Timeout was reached [https://conda.test/noarch/repodata.json]
        critical libmamba Multiple errors: Download error (28)
        error    libmamba Download error (6) x
        Subdir conda-test/noarch not loaded!
        critical libmamba Multi-download failed. Reason: x
        Transfer finalized, status: 503 [https://conda.test], 9 bytes
        CondaHTTPError: HTTP 000 CONNECTION FAILED for url <https://conda.test>
        CondaHTTPError: HTTP 502 BAD GATEWAY for url <https://conda.test>
        CONNECTION FAILED for url <https://conda.test>
        CondaSSLError: x
        ChecksumMismatchError: Conda detected a mismatch
        WARNING: Retrying (Retry(total=0, connect=None)) after connection broken by x
        requests.exceptions.ConnectionError: Max retries exceeded with url: /x
        Could not fetch URL https://pypi.test/simple/x/: connection error: x - skipping
        ERROR: HTTP error 503 while getting https://pypi.test/x.whl
        ReadTimeoutError: HTTPSConnectionPool(host='pypi.test'): x
        urllib3.exceptions.ProtocolError: x
        ├─▶ Request failed after 3 retries
        ├─▶ error sending request for url
        HTTP status server error (503 Service Unavailable) for url (https://pypi.test/)
        fatal: unable to access 'https://git.test/a/b/': x
        error: RPC failed; curl 56 x
        fatal: early EOF
        fatal: fetch-pack: invalid index-pack output
        fetch-pack: unexpected disconnect: the remote end hung up unexpectedly
        ssh: connect to host git.test port 22: x
        ssh: Could not resolve hostname git.test: x
        Warning: unable to access index for repository https://cran.test/src/contrib:
        cannot open URL 'https://cran.test/src/contrib/PACKAGES'
        Error in download.file(x) : cannot download all files
        download of package 'alpha' failed
        Warning: could not download https://pkg.test/registries
        exception = RequestError: x
        ERROR: failed to clone from https://git.test/A.jl.git, error: x
        ERROR: failed to fetch from https://git.test/A.jl.git, error: x
        GitError(Code:ERROR, Class:Net, x)
        failed to push registry.test/image:1: denied
        failed to do request: Head "https://registry.test/v2/": x
        failed to resolve source metadata for base.test/image:1: x
        failed commit on ref "layer-sha256:01": x
        unexpected status from POST request to https://registry.test/v2/: x
        received unexpected HTTP status: 503 Service Unavailable
        toomanyrequests: You have reached your pull rate limit.
        429 Too Many Requests - Server message: x
        dial tcp 192.0.2.7:443: x
        curl: (6) x
        curl: (28) x
        wget: unable to resolve host address 'files.test'
        2026-01-01 00:00:00 ERROR 503: x
        npm ERR! network x
        npm error code ECONNRESET
        error: unable to download 'https://nix.test': x
        fatal: Could not resolve host: git.test
        socket.gaierror: [Errno -3] Temporary failure in name resolution
        [Errno -2] Name or service not known
        dns error: failed to lookup address information: Try again
        Failed to establish a new connection: x
        NewConnectionError('x')
        ConnectTimeout: x
        Read timed out. (read timeout=15)
        httpx.ReadTimeout
        OSError: [Errno 110] Connection timed out
        OSError: [Errno 111] Connection refused
        ConnectionResetError: [Errno 104] Connection reset by peer
        ('Connection aborted.', x)
        http.client.RemoteDisconnected: x
        fetch: Operation timed out
        OSError: [Errno 101] Network is unreachable
        OSError: [Errno 113] No route to host
        gnutls_handshake() failed: x
        OpenSSL SSL_connect: SSL_ERROR_SYSCALL in connection to files.test:443
        net/http: TLS handshake timeout
        warning  libmamba x (28) Timeout was reached
        lookup files.test: i/o timeout
        503 Service Unavailable
        Failed to clone repository from https://git.test/a/b (ref 1f1f).""",
    causes.CONFLICT: """\
        Because alpha==1 depends on beta<2, x
        Because you require beta>=2 and x
        Because x, your requirements are unsatisfiable.
        alpha 1.0, which conflicts with any installable versions previously reported
        alpha is not installable because it requires
        because these package versions have conflicting dependencies.
        ERROR: Unsatisfiable requirements detected for package Alpha:
        ERROR: Package 'alpha' requires a different Python: 3.10.0 not in '>=3.11'
        ERROR: Ignored the following versions that require a different python version: 9.0
        error    libmamba Could not solve for environment specs
        Encountered problems while solving:
        UnsatisfiableError: The following specifications were found to be incompatible
        ERROR: ResolutionImpossible: for help visit https://pip.test
        No solution found when resolving dependencies:
        SolverProblemError
        npm error code ERESOLVE
        E: Unable to correct problems, you have held broken packages.""",
    causes.ENVIRONMENT: """\
        fatal: Fetched in submodule path 'x'. Direct fetching of that commit failed.
        critical libmamba pip failed to update packages
        CondaEnvException: Pip failed
        alpha.c:1:10: fatal error: beta.h: No such file or directory
        ERROR: failed to solve: dockerfile parse error on line 3: unknown instruction: RUNN
        ERROR: failed to solve: failed to read dockerfile: open Dockerfile: no such file
        ERROR: Failed to build 'git+https://git.test/a.git' when git clone
        ERROR: Failed building wheel for alpha
        ERROR: compilation failed for package 'alpha'
        ERROR: lazy loading failed for package 'alpha'
        ERROR: configuration failed for package 'alpha'""",
}
LINES = {cause: [line.strip() for line in text.split("\n")] for cause, text in EXAMPLES.items()}
each_cause = pytest.mark.parametrize("cause", EXAMPLES, ids=lambda cause: cause.name)


@pytest.mark.parametrize(
    "cause",
    [each for each in EXAMPLES if each is not causes.COMMIT_MISSING],
    ids=lambda cause: cause.name,
)
def test_a_line_of_a_failed_command_shows_its_cause(cause: Cause) -> None:
    for line in LINES[cause]:
        diagnosis = diagnose([*START.split("\n"), f"#9 9.1 {line}", *ended(1).split("\n")])
        assert (diagnosis.cause, line.endswith(diagnosis.line)) == (cause, True), line


@each_cause
def test_unless_a_command_failed_only_a_strong_sign_counts(cause: Cause) -> None:
    strong = [sign for sign in SIGNS if not sign.weak]
    for line in LINES[cause]:
        text = line.removeprefix("├─▶ ")
        expected = next((sign.cause for sign in strong if sign.matches(text)), DIED)
        assert expected in (cause, DIED), line
        assert diagnose([*START.split("\n"), f"#9 9.1 {line}", WRAPPER]).cause == expected, line


@pytest.mark.parametrize("number", range(len(SIGNS)))
def test_each_pattern_has_an_example_that_no_other_pattern_of_its_sign_matches(number: int) -> None:
    sign = SIGNS[number]
    examples = [line.removeprefix("├─▶ ") for line in LINES[sign.cause]]
    for pattern in sign.patterns:
        others = [each for each in sign.patterns if each is not pattern]
        matched = [line for line in examples if re.search(pattern, line)]
        unique = [line for line in matched if not any(re.search(o, line) for o in others)]
        assert unique, pattern


def test_every_cause_of_the_table_is_documented() -> None:
    assert {sign.cause for sign in SIGNS} | {causes.BUILD_STALLED} == set(CAUSES)
    assert len({cause.name for cause in CAUSES}) == len(CAUSES)


@pytest.mark.parametrize("cause", CAUSES, ids=lambda cause: cause.name)
def test_a_cause_means_an_error_of_its_kind(cause: Cause) -> None:
    kind: type[errors.ClinderError] = errors.BuildFailed
    code = 4
    if cause is causes.COMMIT_MISSING:
        kind, code = errors.CommitNotCloned, 3
    elif cause in (causes.BUILDER_DIED, causes.MIRROR_UNREACHABLE, causes.BUILD_STALLED):
        kind, code = errors.BuildInterrupted, 6
    assert issubclass(cause.error, kind)
    assert cause.error.exit_code == code
    assert cause.hint or cause.error.hint


# Which lines matter


def test_only_the_failed_step_matters() -> None:
    earlier = "#8 1.0 W: Failed to fetch http://deb.test/x  Connection failed"
    log = [earlier, *START.split("\n"), "#9 9.1 error: nothing compiles", *ended(1).split("\n")]
    assert diagnose(log).line == "error: nothing compiles"
    assert diagnose([*log[:-20], earlier.replace("#8", "#9"), *log[-20:]]).cause == MIRROR


def test_a_sign_far_before_the_end_does_not_matter_unless_a_command_failed() -> None:
    sign = "#9 1.0 E: Unable to locate package nope"
    for lines, cause in ((11, causes.PACKAGE_MISSING), (12, causes.BUILDER_DIED)):
        log = [sign, *(f"#9 2.0 line {number}" for number in range(lines)), WRAPPER]
        assert diagnose(log).cause == cause
        assert diagnose([*log, *ended(1).split("\n")]).cause == causes.PACKAGE_MISSING


def test_the_window_is_bounded_but_long() -> None:
    sign = "#9 1.0 E: Unable to locate package nope"
    end = [line for line in ended(1).split("\n") if line]
    for lines, cause in ((0, causes.PACKAGE_MISSING), (1, causes.ENVIRONMENT)):
        count = WINDOW - len(end) - 1 + lines
        log = [sign, *(f"#9 2.0 line {number}" for number in range(count)), *end]
        assert diagnose(log).cause == cause


def test_an_exit_code_at_the_end_of_a_long_line_is_read() -> None:
    command = "pip install " + "alpha " * 5000
    log = [*START.split("\n"), *ended(137, command).split("\n")]
    diagnosis = diagnose(log)
    assert diagnosis.cause == causes.OUT_OF_MEMORY
    assert diagnosis.line.endswith("exit code: 137")
    assert len(diagnosis.line) == LINE_LIMIT


def test_the_lines_around_are_shown_without_the_builders_reports() -> None:
    log = LOGS["a private repository"]
    around = diagnose(log.lines).around
    assert around == (
        "Linking alpha-1.0-h0_0",
        "Linking beta-2.1-py311h1_0",
        "Linking gamma-0.3-pyhd_0",
        "error: subprocess-exited-with-error",
        "fatal: could not read Username for 'https://git.test': No such device or address",
        "the same output, repeated",
    )
    many = [f"#9 1.0 line {number}" for number in range(30)]
    log_line = "#9 1.0 E: Unable to locate package nope"
    around = diagnose([*many, log_line, *many, *ended(1).split("\n")]).around
    assert around == (
        *(f"line {number}" for number in range(24, 30)),
        "E: Unable to locate package nope",
        "line 0",
        "line 1",
    )


def test_the_hubs_message_contains_the_reason_unless_it_repeats_the_builders_command() -> None:
    log = LOGS["breaks off"].lines[:-1]
    for message, cause in (
        ("Command failed", causes.ENVIRONMENT),
        ("Error during build: an unknown runtime", causes.ENVIRONMENT),
        ("COPY failed: no space left on device", causes.DISK_FULL),
        ("Get https://registry.test/v2/: i/o timeout", MIRROR),
        ("rpc error: code = Unavailable desc = x", DIED),
        (WRAPPER, DIED),
        ("", DIED),
    ):
        diagnosis = diagnose(log, message.split("\n"))
        assert diagnosis.cause == cause, message
        shown = message.removeprefix("Error during build: ")
        assert diagnosis.line == ("Linking gamma-0.3-pyhd_0" if message in (WRAPPER, "") else shown)
    assert diagnose(["Step 1/2 : RUN make"], ["The command 'x' returned a non-zero code: 1"]).cause


def test_a_stalled_build_is_explained_by_its_last_line() -> None:
    log = BuildLog(causes.BUILD_STALLED, "", START + "#9 0.21\n")
    diagnosis = diagnose_stall(log.lines, 900.0)
    assert diagnosis.cause.name == "build-stalled"
    assert diagnosis.line.startswith("[5/7] RUN bash -c")
    error = diagnosis.to_error()
    assert type(error) is errors.BuildStalled
    assert error.message == "The build logged nothing for 900 s."
    assert "--build-idle-timeout SECONDS" in error.hint
    assert diagnose_stall([], 1.5).line == ""


def test_an_error_has_the_message_and_the_hint_of_its_cause() -> None:
    error = diagnose(LOGS["a private repository"].lines).to_error()
    assert (error.message, error.hint) == (causes.PRIVATE.message, causes.PRIVATE.hint)
    error = diagnose(LOGS["breaks off"].lines).to_error()
    assert error.hint == errors.BuilderDied.hint
    error = diagnose(LOGS["the server never answers"].lines).to_error()
    assert error.message.startswith("The server could not be launched: Spawn failed: Server at")


# Any log


def test_the_error_line_is_the_cause_rather_than_its_report() -> None:
    log = [
        "Collecting nope",
        "#6 1.0 ERROR: No matching distribution found for nope",
        "Removing intermediate container",
        '#6 ERROR: process "/bin/sh -c pip install nope" did not complete successfully: 1',
    ]

    assert find_error_line(log) == "ERROR: No matching distribution found for nope"
    assert find_error_line(log[2:]) == log[3].removeprefix("#6 ")
    assert find_error_line(log[:1]) == log[0]
    assert find_error_line([]) == ""
    assert len(find_error_line(["error " * 1000])) == LINE_LIMIT


@given(st.lists(st.text(max_size=80), max_size=20))
def test_any_log_has_a_cause(log: list[str]) -> None:
    diagnosis = diagnose(log)
    assert isinstance(diagnosis.to_error(), errors.ClinderError)
    assert len(diagnosis.line) <= LINE_LIMIT
    assert len(diagnosis.around) <= 9
