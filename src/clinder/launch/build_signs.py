"""How each cause of a failed build looks in a log: the causes, and the table of their signs.

The patterns follow the messages of the programs that take part in a build: repo2docker, BuildKit,
the older Docker builder, Podman, kaniko, apt, conda, mamba, pip, uv, git, R, Julia, npm and Nix.
None takes more than linear time.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from clinder.errors import (
    BuilderDied,
    BuildFailed,
    BuildStalled,
    ClinderError,
    CommitNotCloned,
    LaunchFailed,
    MirrorUnreachable,
)


@dataclass(frozen=True)
class Cause:
    """A cause: its ``name`` in JSON, the error that it means, and the error's message and hint."""

    name: str
    error: type[ClinderError]
    message: str
    hint: str = ""


OUT_OF_MEMORY = Cause(
    "out-of-memory",
    BuildFailed,
    "The image could not be built: the build ran out of memory.",
    "Install fewer packages, or name their versions so that it takes less memory to solve the"
    " environment.",
)
DISK_FULL = Cause(
    "disk-full",
    BuildFailed,
    "The image could not be built: the builder's disk is full.",
    "Install fewer or smaller packages, and download data in the session rather than in the build."
    " If the image is small, tell the hub's operators.",
)
COMMIT_MISSING = Cause(
    "commit-missing", CommitNotCloned, "The hub found the commit, but cannot clone it."
)
PRIVATE = Cause(
    "private-repository",
    BuildFailed,
    "The image could not be built: something that it downloads is private or does not exist.",
    "A hub has no access to private repositories and files, and no ssh key. Make the repository or"
    " file public, correct its address in the environment files, or remove it from them.",
)
PACKAGE_MISSING = Cause(
    "package-missing",
    BuildFailed,
    "The image could not be built: a package or version that it needs does not exist.",
    "Correct the package's name or version in the environment files, or add the channel that has"
    " the package.",
)
CONFLICT = Cause(
    "package-conflict",
    BuildFailed,
    "The image could not be built: no versions of its packages fit together.",
    "Relax the versions in the environment files, among them the version of Python.",
)
ENVIRONMENT = Cause(
    "environment", BuildFailed, "The image could not be built: a command of the build failed."
)
MIRROR_UNREACHABLE = Cause(
    "mirror-unreachable",
    MirrorUnreachable,
    "The image was not built: a server that the build needs was unreachable.",
)
BUILDER_DIED = Cause(
    "builder-died", BuilderDied, "The hub's builder died while it was building the image."
)
BUILD_STALLED = Cause("build-stalled", BuildStalled, "The build logged nothing for … s.")
LAUNCH_FAILED = Cause("launch-failed", LaunchFailed, "The server could not be launched: …")

CAUSES = (
    OUT_OF_MEMORY,
    DISK_FULL,
    COMMIT_MISSING,
    PRIVATE,
    PACKAGE_MISSING,
    CONFLICT,
    ENVIRONMENT,
    MIRROR_UNREACHABLE,
    BUILDER_DIED,
    BUILD_STALLED,
)
"""All causes of a failed build. :data:`LAUNCH_FAILED` is none: there, the image was built."""


class Sign:
    """How a cause looks in a log line: it contains one of the ``patterns``, and not ``unless``.

    A ``weak`` sign also occurs in builds that go on, so it counts only if a command failed. One
    that appears ``before_build`` does not count then, because that command ran later.
    """

    def __init__(
        self,
        cause: Cause,
        *patterns: str,
        unless: str = "",
        weak: bool = False,
        before_build: bool = False,
    ):
        self.cause = cause
        self.patterns = patterns
        self.weak = weak
        self.before_build = before_build
        self._any = re.compile("|".join(patterns))
        self._unless = re.compile(unless) if unless else None

    def matches(self, line: str) -> bool:
        """Whether a log line, without its frame, has this sign."""
        found = self._any.search(line) is not None
        return found and not (self._unless and self._unless.search(line))


_NETWORK = (
    "[Cc]ould(?: not|n't) resolve host",
    "[Tt]emporary failure in name resolution",
    "Name or service not known",
    "failed to lookup address information",
    "Failed to establish a new connection",
    "NewConnectionError",
    "ConnectTimeout",
    "Read timed out",
    "ReadTimeout",
    "[Cc]onnection (?:timed out|refused|reset by peer|aborted)",
    "RemoteDisconnected",
    "[Oo]peration timed out",
    "Network is unreachable",
    "No route to host",
    "gnutls_handshake",
    "SSL_ERROR_SYSCALL",
    "TLS handshake timeout",
    "Timeout was reached",
    "i/o timeout",
    "50[0234] (?:Server Error|Internal Server Error|Bad Gateway|Service Unavailable|Gateway Time)",
)
"""What programs report about a broken network, often before they try again."""

SIGNS: tuple[Sign, ...] = (
    Sign(
        BUILDER_DIED,
        "Cannot connect to the Docker daemon",
        "[Uu]nable to connect to Podman",
        "error during connect: ",
        "Error while fetching server API version",
        "UnixHTTPConnectionPool",
        r"http\+docker://",
        "commandline client must be installed",
        "buildx plugin must be installed",
        "Container engine initialization error",
        "context canceled",
        "The node was low on resource",
    ),
    Sign(
        OUT_OF_MEMORY,
        "signal: killed",
        "Killed signal terminated program",
        r"^(?:\S{1,80}: line \d+: +\d+ )?Killed(?: |$)",
        "std::bad_alloc",
        "^MemoryError",
        "annot allocate memory",
        "cannot allocate vector of size",
        "heap out of memory",
        "OutOfMemoryError",
        "virtual memory exhausted",
        "LLVM ERROR: out of memory",
    ),
    Sign(
        DISK_FULL,
        "[Nn]o space left on device",
        "ENOSPC",
        "Disk quota exceeded",
        "[Nn]ot enough free (?:disk )?space",
        "You don't have enough free space",
        "NoSpaceLeftError",
    ),
    Sign(ENVIRONMENT, "Direct fetching of that commit failed"),  # a submodule's commit
    Sign(
        COMMIT_MISSING,
        "^Failed to check out ref ",
        "^fatal: Could not parse object",
        r"^Command '\['git', 'reset', ",
        before_build=True,
    ),
    Sign(
        PRIVATE,
        "could not read (?:Username|Password) for ",
        "Authentication failed for ",
        "Support for password authentication was removed",
        r"Permission denied \(publickey",
        "Host key verification failed",
        "Repository not found",
        "^fatal: repository '.{1,300}' not found",
        "does not appear to be a git repository",
        "HTTP Basic: Access denied",
        r"GitError\(Code:EAUTH",
        "returned error: 40[134]",
        "HTTP status was '40[134]",
        "HTTP error 40[134]",
        r"HTTP status client error \(40[134]",
        "ERROR 40[134]: ",
        "40[134] Client Error",
        "pull access denied",
    ),
    Sign(
        PACKAGE_MISSING,
        "HTTP 404 NOT FOUND for url",
        "UnavailableInvalidChannel",
        "The channel is not accessible or is invalid",
        "Transfer finalized, status: 40[134]",
        "manifest(?: for .{1,300})? (?:unknown|not found)",
        r"failed to solve: \S{1,300}: (?:failed to resolve .{1,300}: |\S{1,300}: )?not found$",
        "failed to calculate checksum of ref .{1,300}: not found$",
    ),
    Sign(
        MIRROR_UNREACHABLE,
        # apt
        "^[WE]: Failed to fetch ",
        r"^Err:\d+ http",
        "^W: Some index files failed to download",
        "Temporary failure resolving ",
        # conda and mamba
        r"^Download error \(",
        "^(?:error|critical) +libmamba .{0,80}Download error",
        "^Subdir .{1,80} not loaded",
        "Multi-download failed",
        "Transfer finalized, status: (?:429|5)",
        "CondaHTTPError: HTTP (?:000|429|5)",
        "CONNECTION FAILED for url",
        "CondaSSLError",
        "ChecksumMismatchError",
        # pip and uv
        r"Retry\(total=0",
        "Max retries exceeded with url",
        "Could not fetch URL .{1,300}: connection error",
        "^(?:ERROR: )?(?:HTTP error|HTTPError:) (?:429|5)",
        "ReadTimeoutError: HTTP",
        "ProtocolError: ",
        r"Request failed after \d+ retries",
        "error sending request for url",
        r"HTTP status server error \(5",
        # git
        "^fatal: unable to access '",
        "^(?:error: )?RPC failed",
        "^fatal: (?:early EOF|fetch-pack: )",
        "[Tt]he remote end hung up unexpectedly",
        "^ssh: (?:connect to host|Could not resolve hostname) ",
        # R
        "unable to access index for repository",
        "cannot open URL '",
        "cannot download all files",
        "download of package .{1,80} failed",
        # Julia
        "could not download https?://",
        "RequestError: ",
        "failed to (?:clone|fetch) from https?://",
        r"GitError\(Code:\w{1,20}, Class:(?:Net|OS|SSL|HTTP)",
        # the registry of images
        r"failed to (?:push|do request|resolve source metadata)\b",
        "failed commit on ref ",
        "unexpected status from [A-Z]{3,5} request",
        "received unexpected HTTP status: 5",
        "toomanyrequests",
        "429 Too Many Requests",
        "dial tcp ",
        # curl, wget, npm and Nix
        r"^curl: \((?:5|6|7|16|18|28|35|52|55|56|92)\) ",
        "^wget: unable to resolve host address",
        r"ERROR (?:429|5\d\d): ",
        "^npm (?:ERR!|error) (?:network|code (?:ECONN|ETIMEDOUT|EAI_AGAIN|ENOTFOUND))",
        "^error: unable to download '",
    ),
    Sign(
        PACKAGE_MISSING,
        r"does not exist \(perhaps a typo or a missing channel",
        "nothing provides ",
        "ResolvePackageNotFound",
        "PackagesNotFoundError",
        "was not found in the package registry",
        r"\(from versions: \d",
        "expected package .{1,200} to be registered",
        "The following package names could not be resolved",
        "^npm (?:ERR!|error) code E404",
        "reference is not a tree",
        "unable to read tree",
        r"did not match any file\(s\) known to git",
    ),
    Sign(
        CONFLICT,
        "^Because .{0,300}(?:depends on |you require |unsatisfiable)",
        "conflicts with any installable versions",
        "is not installable because it ",
        "conflicting dependencies",
        "Unsatisfiable requirements detected",
        "requires? a different [Pp]ython",
    ),
    Sign(
        CONFLICT,
        "Could not solve for environment specs",
        "Encountered problems while solving",
        "UnsatisfiableError",
        "ResolutionImpossible",
        "No solution found when resolving",
        "SolverProblemError",
        "^npm (?:ERR!|error) code ERESOLVE",
        "^E: Unable to correct problems, you have held broken packages",
    ),
    # A refused connection to the same machine concerns the command's own server.
    Sign(MIRROR_UNREACHABLE, *_NETWORK, unless=r"localhost|127\.0\.0\.1", weak=True),
    Sign(
        PACKAGE_MISSING,
        "No matching distribution found for ",
        r"\(from versions: (?:none)?\)",
        "^E: Package '.{1,200}' has no installation candidate",
        "^E: (?:Unable to locate package|Couldn't find any package)",
        "there is no package called ",
    ),
    Sign(MIRROR_UNREACHABLE, "^Failed to clone repository from "),
    Sign(
        ENVIRONMENT,
        "^critical libmamba ",
        "CondaEnvException: ",
        "fatal error: .{1,200}: No such file or directory",
        "dockerfile parse error",
        "failed to read dockerfile",
    ),
    Sign(
        PACKAGE_MISSING,
        "^(?:ERROR: )?(?:packages?|dependency|dependencies) .{1,300} (?:is|are) not available",
        weak=True,
    ),
    Sign(
        ENVIRONMENT,
        "^ERROR: Failed (?:to build|building wheel)",
        "^ERROR: (?:compilation|configuration|lazy loading) failed for package",
        weak=True,
    ),
)
"""The signs, the most telling first. The first sign that any line has decides."""
