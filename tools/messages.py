"""For docs/troubleshooting.md: how the messages of each error begin, and what causes it.

The advice in the page is the error's own hint. A test checks that each message occurs in the
sources, and that no error is missing.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Explanation:
    """The beginnings of an error's messages, the usual one first, and its cause.

    ``…`` stands for a part that varies. ``cause`` is empty if message and hint explain it.
    ``advice`` is added to the error's hint.
    """

    messages: tuple[str, ...]
    cause: str = ""
    advice: str = ""


FAMILIES = ("HubBusy", "BuildInterrupted")
"""Base classes that are never raised themselves."""

EXPLANATIONS = {
    "CodeRaised": Explanation(
        ("The code raised … in the session.", "The code did not finish: …"),
        "If the code did not finish, its kernel died, most often because memory ran out "
        "(mybinder.org allows 2 GB).",
        "Fix the code, or the image's environment.",
    ),
    "UsageError": Explanation(
        (
            "This directory is not a git checkout.",
            "Commit … is not pushed yet: …",
            "There is no session: …",
            "The session in … is still running.",
        ),
        advice="Many other messages are of this kind. Each explains what to do, and "
        "`clinder COMMAND --help` shows examples.",
    ),
    "OutputLost": Explanation(
        ("The output could not be written: …",),
        "clinder has stopped the session that it had started, because nobody received its token.",
    ),
    "Refused": Explanation(
        ("The hub refused: …", "The hub responded with status …"),
        "The hub's own message follows the colon.",
    ),
    "UnknownProvider": Explanation(
        ("The hub does not support this provider: …",),
        "mybinder.org supports all that clinder does, smaller hubs often only GitHub.",
    ),
    "MalformedSpec": Explanation(
        (
            "The hub cannot parse the spec: …",
            "The hub does not accept this URL: …",
            "The hub requires a ref: …",
        ),
        "The hub might run an old or a modified BinderHub.",
    ),
    "RefNotFound": Explanation(
        (
            "The repository or its ref was not found: …",
            "The repository is empty: …",
            "The repository's host has taken the repository down: …",
            "git found no public repository at this URL: …",
            "The gist is secret: …",
        ),
        "GitHub and others report private repositories, unpushed commits and deleted "
        "forks as missing, too.",
    ),
    "Banned": Explanation(
        ("The hub does not launch this repository: …",),
        advice="For a fork's pull request, see [Forks](forks.md).",
    ),
    "NetworkRefused": Explanation(
        ("The hub refuses this network: …",),
        "Hubs refuse the networks of some cloud providers, and CI runners are often in one.",
    ),
    "BotsRefused": Explanation(
        ("The hub mistakes clinder for a bot: …",),
        "clinder does not identify itself as a bot, so this should not happen.",
    ),
    "BuildTokenRefused": Explanation(
        ("The hub refused the build token: …",),
        "A hub's launch page issues build tokens, each for one spelling of the spec.",
    ),
    "LoginRequired": Explanation(
        ("The hub requires a login: …",),
        "The hub redirects to a login, or responds with 401, or with 403 and JSON: see "
        "[Hubs that require a login](login.md).",
    ),
    "HubTokenRefused": Explanation(
        (
            "The hub does not accept the hub token: …",
            "The hub token lacks a scope: …",
            "The JupyterHub at … refused the hub token: …",
            "The hub token belongs to the user …",
        ),
        "If the message names a scope, [the token](login.md) lacks it.",
    ),
    "TokenNotIssued": Explanation(
        ("The hub issues no token that opens only this session, …",),
        "`clinder start` hands out a token that opens only the session, never yours.",
    ),
    "ProxyRefused": Explanation(
        ("The hub's proxy refuses the request …",),
        "Institutions' firewalls do this.",
    ),
    "ChallengePage": Explanation(
        ("The hub's proxy responded with a challenge page (status …)",),
        "A service such as Cloudflare asks for a proof that a person is using a browser.",
    ),
    "UrlTooLong": Explanation(
        ("The hub's proxy does not accept a URL of this length …",),
        "A proxy responded with 413, 414 or 431.",
    ),
    "SlashesRefused": Explanation(
        ("The hub's proxy does not accept the encoded slash (%2F) in the spec …",),
        "The specs of GitLab, other git hosts and CKAN contain them.",
    ),
    "KernelspecMissing": Explanation(
        (
            "The session has no kernelspec …, only: …",
            "The session's … is not installed, only: …",
        ),
        "The image lacks the kernelspec that `--warm-up`, `warm-up`, `--kernel` or its "
        "own configuration names. Names are `python3`, `ir` or `julia-1.11`, for "
        "example, not languages.",
    ),
    "CommitNotCloned": Explanation(
        ("The hub found the commit, but cannot clone it.",),
        advice="For a fork's pull request, see [Forks](forks.md).",
    ),
    "CommitMismatch": Explanation(
        ("The hub launched …, not …",),
        "clinder has stopped that session, which would have run the wrong code.",
    ),
    "BuildFailed": Explanation(
        ("The image could not be built: …",),
        "[A build fails](troubleshooting.md#a-build-fails) lists the causes.",
        "`jupyter-repo2docker .` builds the same image on your own machine, with Docker.",
    ),
    "HubFull": Explanation(
        ("The hub is full: …",),
        "clinder has waited 60 s and 240 s, if the time limit allowed it.",
    ),
    "QuotaReached": Explanation(
        ("The repository's quota on the hub is used up: …",),
    ),
    "AccountInUse": Explanation(
        (
            "The user's account is in use: …",
            "The hub gave this launch the server of another launch …",
        ),
        "The hub limits how many [servers](login.md) a user has, often to one.",
    ),
    "RateLimited": Explanation(
        (
            "The hub limits the rate of build requests: …",
            "The hub or its proxy limits the rate of requests …",
        ),
        "Reconnections count, too. The hub's message shows the whole period, not the time left.",
    ),
    "HostRateLimited": Explanation(
        ("The repository's host limits the hub's requests: …",),
    ),
    "HubError": Explanation(
        ("The hub sent an event that is too large.",),
        "The event was larger than 256 KiB. The address is probably not a BinderHub's.",
    ),
    "HubUnreachable": Explanation(
        ("The hub is unreachable: …", "The hub ended the event stream before the launch finished."),
    ),
    "HubSilent": Explanation(
        ("The hub is silent: …",),
        "Nothing arrived for 75 s, not even a keepalive. If this always happens on a hub of "
        "your own, see [its settings](hubs.md#a-hub-of-your-own).",
    ),
    "HubDown": Explanation(
        (
            "The hub's proxy reports that the hub is down …",
            "The hub is unreachable: …",
        ),
        "clinder has tried for about a minute, or once with `--attempts 1`.",
    ),
    "CertificateUntrusted": Explanation(
        ("The hub's certificate is not trusted …",),
    ),
    "HubBroken": Explanation(
        (
            "The hub failed: …",
            "The hub failed and gave no reason.",
            "The hub responded with status …",
            "The hub lost track of the build: …",
        ),
    ),
    "BuilderDied": Explanation(
        ("The hub's builder died while it was building the image.",),
        "The hub lost the connection to its builder. Such builds often succeed later.",
    ),
    "MirrorUnreachable": Explanation(
        ("The image was not built: a server that the build needs was unreachable.",),
        "It was a mirror, an index, a git host or a registry.",
    ),
    "BuildStalled": Explanation(
        ("The build logged nothing for … s.",),
        "The hub still sends keepalives.",
    ),
    "NotABinderHub": Explanation(
        ("This is not a BinderHub's address: …",),
        "The address is mistyped, belongs to a JupyterHub, or lacks a path prefix, as "
        "in `https://example.org/services/binder/`. A hub in API-only mode launches "
        "nothing.",
    ),
    "ServerUnusable": Explanation(
        (
            "The hub reported a ready server, but no URL or no token.",
            "The hub uses HTTPS, but its server uses plain HTTP, …",
        ),
    ),
    "RepositoryHostFailed": Explanation(
        ("The hub could not query the repository's host: …",),
    ),
    "GitHostFailed": Explanation(
        ("git could not query the repository's host: …",),
        "`git ls-remote` failed on the hub. Its output does not show whether the URL is wrong.",
    ),
    "ServerUnreachable": Explanation(
        (
            "The session's server is unreachable: …",
            "The session's server responded with … to …",
            "The session's kernel is unreachable: …",
            "It is unknown whether the session runs: …",
        ),
        "The hub's proxy might be restarting, or a program that forwards the port, such "
        "as `kubectl port-forward`.",
        "`clinder status` checks again until the response is clear.",
    ),
    "OutputDropped": Explanation(
        ("The session's server dropped some of the output. Its own message is above.",),
        "The code ran, but a Jupyter Server limits its output per second.",
    ),
    "TimedOut": Explanation(
        ("The launch did not finish within … s.", "The code did not end within … s"),
        "Building an image can take half an hour. The hub continues to build it.",
    ),
    "KernelNotRemoved": Explanation(
        (
            "The session's server did not confirm that it removed the kernel.",
            "The session's server did not report which kernel it started.",
        ),
        "The time limit expired first. The kernel might still run.",
    ),
    "LaunchFailed": Explanation(
        ("The server could not be launched: …",),
        "The hub failed four times to start a server. Its cluster might be full, or the "
        "image's start command fails.",
    ),
    "ServerNotReady": Explanation(
        (
            "The server was launched but never became usable: …",
            "The server was launched, but the warm-up failed: …",
            "The kernel cannot be used: …",
        ),
        "The server did not respond within 120 s, or its first kernel died, usually "
        "because two packages do not work together.",
        "`--no-warm-up` or `warm-up: false` starts no kernel.",
    ),
    "StopFailed": Explanation(
        (
            "The session still runs: it did not shut down in time.",
            "It is unknown whether the session still runs: …",
        ),
        "clinder told the server several times to shut down.",
    ),
    "TokenRefused": Explanation(
        ("The session's server refused the token.",),
    ),
    "RequestRefused": Explanation(
        ("The session's server refused …",),
        "`_xsrf` in the reason means that the server does not use its token, so that "
        "only its own web pages can change anything.",
    ),
    "SessionGone": Explanation(
        (
            "The session is gone: …",
            "The session at … is gone: …",
            "The session is gone, so …",
        ),
        "The hub [culled it](hubs.md#the-public-federation), or stopped it because it used "
        "too much memory. If *the hub does not know it*, the session [might still "
        "run](limits.md#what-clinder-cannot-know).",
    ),
    "ClinderError": Explanation(
        ("A bug in clinder …",),
        advice="Report the line at <https://github.com/org/clinder-action/issues>.",
    ),
    "Cancelled": Explanation(
        ("Cancelled.", "Cancelled by …"),
        "clinder has stopped the session that it had started, or warns that it might "
        "still run. A cancelled CI job ends with 143.",
    ),
}

LOGS = {
    "out-of-memory": "`exit code: 137`, `Killed`, `MemoryError`",
    "disk-full": "`No space left on device`",
    "commit-missing": "`fatal: Could not parse object …`, or `Failed to check out ref …`",
    "private-repository": "`could not read Username for …`, `Repository not found`, `404`",
    "package-missing": "`No matching distribution found for …`, `Unable to locate package …`, "
    "`… does not exist (perhaps a typo or a missing channel)`",
    "package-conflict": "`Could not solve for environment specs`, `ResolutionImpossible`",
    "environment": "A message of the command that failed",
    "mirror-unreachable": "`Failed to fetch …`, `Retry(total=0`, `Download error (28)`, "
    "`unable to access index for repository …`, or `failed to push …`",
    "builder-died": "`rpc error: code = Unavailable …`, or breaks off",
}
"""What the log of a failed build shows, by the name of its cause; some logs show nothing."""
