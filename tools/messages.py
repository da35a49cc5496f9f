"""For docs/troubleshooting.md: how the messages of each error begin, and what causes it.

The advice in the page is the error's own hint. A test checks that each message occurs in the
sources, and that no error is missing.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Explanation:
    """The beginnings of an error's messages, the usual one first, and its cause.

    ``…`` stands for a part that varies. ``advice`` is added to the error's hint.
    """

    messages: tuple[str, ...]
    cause: str
    advice: str = ""


FAMILIES = ("HubBusy", "BuildInterrupted")
"""Base classes that are never raised themselves."""

EXPLANATIONS = {
    "CodeRaised": Explanation(
        ("The code raised … in the session.", "The code did not finish: …"),
        "The traceback is above the message. If the code did not finish, its kernel died, "
        "most often because the session ran out of memory (mybinder.org allows 2 GB).",
        "Fix the code, or the image's environment.",
    ),
    "UsageError": Explanation(
        (
            "This directory is not a git checkout.",
            "Commit … is not pushed yet: …",
            "The repository names the ref …, but another ref is given too: …",
            "This checkout has no remote named origin",
            "There is no session: JUPYTER_BASE_URL and JUPYTER_TOKEN are not both set.",
            "The session in … is still running.",
            "The events cannot be written to …",
            "There is no command to run.",
            "There is no `--` before the command.",
            "The command … does not exist or is not executable.",
            "MyST needs Node.js, and `node` is not on PATH.",
            "clinder exec runs plain code, not notebooks.",
            "The head repository of this … event is gone: the fork was deleted.",
            "The action does not include the embedded hub.",
        ),
        "An argument, an option, an input or a file is invalid. The line below the message "
        "explains what to do.",
        "`clinder COMMAND --help` lists the options, with examples.",
    ),
    "OutputLost": Explanation(
        ("The output could not be written: …",),
        "The program that reads clinder's output has ended, stdout is closed, or the disk is "
        "full. clinder has stopped the session that it had started, because nobody received "
        "its token.",
    ),
    "Refused": Explanation(
        ("The hub refused: …", "The hub responded with status …"),
        "The hub's own message follows the colon.",
    ),
    "UnknownProvider": Explanation(
        ("The hub does not support this provider: …",),
        "mybinder.org supports all providers that clinder does; smaller hubs often support "
        "only GitHub.",
    ),
    "MalformedSpec": Explanation(
        (
            "The hub cannot parse the spec: …",
            "The hub does not accept this URL: …",
            "The hub requires a ref: …",
        ),
        "The hub supports this provider, but expects a different form of spec. It might run "
        "an old or a modified version of BinderHub.",
    ),
    "RefNotFound": Explanation(
        (
            "The repository or its ref was not found: …",
            "The repository is empty: …",
            "The repository's host has taken the repository down: …",
            "git found no public repository at this URL: …",
            "The gist is secret: …",
        ),
        "A host such as GitHub gives this answer to the hub also for private repositories, "
        "for commits that are not pushed, and for forks that were deleted.",
    ),
    "Banned": Explanation(
        ("The hub does not launch this repository: …",),
        "For a fork's pull request, clinder launches the target repository's commit if both "
        "have the same environment. The last sentence of the hint explains why it did not: "
        "see [Forks](forks.md).",
    ),
    "NetworkRefused": Explanation(
        ("The hub refuses this network: …",),
        "Hubs refuse the networks of some cloud providers, and CI runners are often in one.",
    ),
    "BotsRefused": Explanation(
        ("The hub mistakes clinder for a bot: …",),
        "Newer hubs refuse clients that identify themselves as a bot, a crawler or a spider. "
        "clinder does not, so this should not happen.",
    ),
    "BuildTokenRefused": Explanation(
        ("The hub refused the build token: …",),
        "A hub issues a build token on its launch page. It is not valid for another spelling "
        "of the spec either.",
    ),
    "LoginRequired": Explanation(
        ("The hub requires a login: …",),
        "The hub refuses the request, redirects to a login page, or responds with the status 401, "
        "or 403 and JSON. On such a hub, every session belongs to a user. If the hub is part of a "
        "JupyterHub, the hint names the page on which you can create a token, and its scopes. See "
        "[Hubs that require a login](login.md).",
    ),
    "HubTokenRefused": Explanation(
        (
            "The hub does not accept the hub token: …",
            "The hub token lacks a scope: …",
            "The JupyterHub at … refused the hub token: …",
            "The hub token belongs to the user …",
        ),
        "The token is wrong, has expired, belongs to another hub, or does not permit what clinder "
        "needs. If the message names a scope, create a new token that has it. clinder stops no "
        "server that it cannot recognise as its own. See [Hubs that require a login](login.md).",
    ),
    "TokenNotIssued": Explanation(
        ("The hub issues no token that opens only this session, …",),
        "`clinder start` hands the session out with a token that opens nothing else. The hub must "
        "issue it, which requires the scope `tokens!user`. clinder does not hand out your own "
        "token instead.",
    ),
    "ProxyRefused": Explanation(
        ("The hub's proxy refuses the request …",),
        "A proxy in front of the hub responded with 403 and a page. Firewalls of institutions "
        "do this.",
    ),
    "ChallengePage": Explanation(
        ("The hub's proxy responded with a challenge page (status …)",),
        "A service in front of the hub, such as Cloudflare, asks for a proof that a person is "
        "using a browser. It asks more often if a request comes from a cloud provider, and so "
        "from a CI runner.",
    ),
    "UrlTooLong": Explanation(
        ("The hub's proxy does not accept a URL of this length …",),
        "The build request's URL contains the spec and the build token. A proxy in front of "
        "the hub responded with 413, 414 or 431.",
    ),
    "SlashesRefused": Explanation(
        ("The hub's proxy does not accept the encoded slash (%2F) in the spec …",),
        "GitLab's namespaces and the URLs of other git hosts and CKAN contain encoded "
        "slashes. The proxy responds with 400 or 404 to such a build request.",
    ),
    "KernelspecMissing": Explanation(
        (
            "The session has no kernelspec …, only: …",
            "The session's … is not installed, only: …",
        ),
        "`--warm-up`, `warm-up` or `--kernel` names a kernelspec that the image does not "
        "have, or the image's Jupyter configuration sets a default that is not installed. "
        "Kernelspecs have names such as `python3`, `ir` or `julia-1.11`, not names of "
        "languages.",
    ),
    "CommitNotCloned": Explanation(
        ("The hub found the commit, but cannot clone it.",),
        "A clone has only the commits of the repository's branches and tags, so repo2docker "
        "reports `Could not parse object`.",
        "For a fork's pull request, clinder launches the target repository's commit if both "
        "have the same environment: see [Forks](forks.md).",
    ),
    "CommitMismatch": Explanation(
        ("The hub launched …, not …",),
        "clinder has stopped that session because it would have run the wrong code.",
    ),
    "BuildFailed": Explanation(
        ("The image could not be built: …",),
        "The message gives the [cause](troubleshooting.md#a-build-fails), and `log shows:` is "
        "the line of the log that explains it. clinder does not try again, because the build "
        "would fail again.",
        "To build the same image on your own machine with Docker, run `jupyter-repo2docker .`.",
    ),
    "HubFull": Explanation(
        ("The hub is full: …",),
        "clinder has tried the other hubs and another member of mybinder.org's federation, "
        "and has waited 60 s and 240 s if the time limit allowed it.",
    ),
    "QuotaReached": Explanation(
        ("The repository's quota on the hub is used up: …",),
        "A hub limits how many sessions of one repository run at a time; on mybinder.org the "
        "limit is 100.",
    ),
    "AccountInUse": Explanation(
        (
            "The user's account is in use: …",
            "The hub gave this launch the server of another launch …",
        ),
        "The hub permits one server for each user, or a limited number, and another one of yours "
        "runs or starts. See [Hubs that require a login](login.md).",
        "If you name several hubs, clinder tries the next one automatically.",
    ),
    "RateLimited": Explanation(
        (
            "The hub limits the rate of build requests: …",
            "The hub or its proxy limits the rate of requests …",
        ),
        "Every build request counts, including reconnections. The number of seconds in the "
        "hub's message is the length of the whole period, not the time left.",
    ),
    "HostRateLimited": Explanation(
        ("The repository's host limits the hub's requests: …",),
        "A hub asks GitHub which commit a ref means, and GitHub limits how many requests a "
        "hub can send in an hour.",
    ),
    "HubError": Explanation(
        ("The hub sent an event that is too large.",),
        "The event was larger than 256 KiB. The address is probably not a BinderHub's.",
    ),
    "HubUnreachable": Explanation(
        ("The hub is unreachable: …", "The hub ended the event stream before the launch finished."),
        "clinder has tried three times. The message gives the reason, for example a name that "
        "does not resolve.",
    ),
    "HubSilent": Explanation(
        ("The hub is silent: …",),
        "There is a connection, but nothing arrived on it for 75 s, not even the keepalive "
        "that a hub sends every 25 s. clinder has tried three times. If every launch fails in "
        "this way, a proxy probably holds the response back: for nginx, set `proxy_buffering "
        "off` in front of BinderHub.",
    ),
    "HubDown": Explanation(
        (
            "The hub's proxy reports that the hub is down …",
            "The hub is unreachable: …",
        ),
        "clinder has tried for about a minute, or once if you set `--attempts 1`.",
    ),
    "CertificateUntrusted": Explanation(
        ("The hub's certificate is not trusted …",),
        "The reason is in brackets: the certificate has expired, is for another name, or "
        "comes from an authority that this machine does not know.",
    ),
    "HubBroken": Explanation(
        (
            "The hub failed: …",
            "The hub failed and gave no reason.",
            "The hub responded with status …",
            "The hub lost track of the build: …",
        ),
        "The hub responded with an internal error. clinder has tried three times.",
    ),
    "BuilderDied": Explanation(
        ("The hub's builder died while it was building the image.",),
        "No command of the build failed: the hub lost the connection to the program that "
        "builds images, or its log breaks off. clinder has requested the build once more, if "
        "there was time, and has tried the next hub. Such builds often succeed later.",
    ),
    "MirrorUnreachable": Explanation(
        ("The image was not built: a server that the build needs was unreachable.",),
        "A mirror, an index, a git host or a registry did not respond, or responded with an "
        "error. clinder has requested the build once more, if there was time, and has tried "
        "the next hub.",
    ),
    "BuildStalled": Explanation(
        ("The build logged nothing for … s.",),
        "The hub still sends keepalives, but no log lines. clinder has requested the build "
        "once more, if there was time, and has tried the next hub.",
    ),
    "NotABinderHub": Explanation(
        ("This is not a BinderHub's address: …",),
        "clinder received a web page or a redirect. The address is mistyped, belongs to a "
        "JupyterHub, or lacks a path prefix, as in `https://example.org/services/binder/`. A "
        "hub that only builds images (API-only mode) launches nothing.",
    ),
    "ServerUnusable": Explanation(
        (
            "The hub reported a ready server, but no URL or no token.",
            "The hub uses HTTPS, but its server uses plain HTTP, which would expose the token.",
        ),
        "The hub is misconfigured.",
    ),
    "RepositoryHostFailed": Explanation(
        ("The hub could not query the repository's host: …",),
        "The hub received an error from GitHub or another host, or no answer. clinder has "
        "tried three times.",
    ),
    "GitHostFailed": Explanation(
        ("git could not query the repository's host: …",),
        "`git ls-remote` failed on the hub. git's output, which follows the colon, does not "
        "show whether the URL is wrong or the host has a problem. clinder has tried twice.",
    ),
    "ServerUnreachable": Explanation(
        (
            "The session's server is unreachable: …",
            "The session's server responded with … to …",
            "The session's kernel is unreachable: …",
            "It is unknown whether the session runs: …",
        ),
        "Nothing responds at the session's address, or the response does not show whether the "
        "session is gone. The hub's proxy might be restarting, or a program that forwards the "
        "port, such as `kubectl port-forward`.",
        "`clinder status` checks again until the response is clear.",
    ),
    "OutputDropped": Explanation(
        ("The session's server dropped some of the output. Its own message is above.",),
        "A Jupyter Server limits how much output it forwards per second. The code ran.",
    ),
    "TimedOut": Explanation(
        ("The launch did not finish within … s.", "The code did not end within … s"),
        "Building a new image can take 10 to 30 minutes. The hub continues to build, so the "
        "next launch is faster.",
    ),
    "KernelNotRemoved": Explanation(
        (
            "The session's server did not confirm that it removed the kernel.",
            "The session's server did not report which kernel it started.",
        ),
        "The time limit expired while clinder was starting or removing a kernel, which might "
        "still be running in the session.",
    ),
    "LaunchFailed": Explanation(
        ("The server could not be launched: …",),
        "The hub failed four times to start a server from the image. Its cluster might be "
        "full, or the image's start command might fail.",
    ),
    "ServerNotReady": Explanation(
        (
            "The server was launched but never became usable: …",
            "The server was launched, but the warm-up failed: …",
            "The kernel cannot be used: …",
        ),
        "The server did not respond within 120 s, or its first kernel died. If the kernel "
        "died, the usual cause is two packages that do not work together.",
        "To start a session without starting a kernel, use `--no-warm-up` or `warm-up: false`.",
    ),
    "StopFailed": Explanation(
        (
            "The session still runs: it did not shut down in time.",
            "It is unknown whether the session still runs: …",
        ),
        "clinder told the server several times to shut down. The server did not, or clinder "
        "could not find out whether it did.",
    ),
    "TokenRefused": Explanation(
        ("The session's server refused the token.",),
        "A server responds at that address, but does not accept this token.",
    ),
    "RequestRefused": Explanation(
        ("The session's server refused …", "The session's server refused POST api/shutdown."),
        "The server accepts the token, but responds with 403 to this request. `_xsrf` in its "
        "reason means that the server does not use its token, so that only its own web pages "
        "can change anything.",
    ),
    "SessionGone": Explanation(
        (
            "The session is gone: …",
            "The session at … is gone: …",
            "The session is gone, so clinder ended the command.",
            "The session is gone, so the command failed.",
        ),
        "Hubs cull idle sessions (mybinder.org after 10 minutes) and old ones (mybinder.org "
        "after 6 hours), and stop sessions that use too much memory. If the message ends with "
        "*the hub does not know it*, the session [might still "
        "run](limits.md#what-clinder-cannot-know).",
    ),
    "ClinderError": Explanation(
        ("A bug in clinder …",),
        "Something happened that clinder is not prepared for.",
        "Report the line at <https://github.com/org/clinder-action/issues>.",
    ),
    "Cancelled": Explanation(
        ("Cancelled.", "Cancelled by …"),
        "You pressed Ctrl-C, or a signal arrived, for example because the CI job was "
        "cancelled. clinder has stopped the session that it had started, or warns that it "
        "might still be running. The exit code is 130 for Ctrl-C, and 143 for SIGTERM and "
        "SIGHUP.",
    ),
}

LOGS = {
    "out-of-memory": "`exit code: 137`, `Killed`, `MemoryError`",
    "disk-full": "`No space left on device`",
    "commit-missing": "`fatal: Could not parse object …`, `Failed to check out ref …`",
    "private-repository": "`could not read Username for …`, `Repository not found`, `404`",
    "package-missing": "`No matching distribution found for …`, `Unable to locate package …`, "
    "`… does not exist (perhaps a typo or a missing channel)`",
    "package-conflict": "`Could not solve for environment specs`, `ResolutionImpossible`",
    "environment": "a message of the command that failed",
    "mirror-unreachable": "`Failed to fetch …`, `Retry(total=0`, `Download error (28)`, "
    "`unable to access index for repository …`, `failed to push …`",
    "builder-died": "`rpc error: code = Unavailable …`, or an ordinary line: the last one",
    "build-stalled": "an ordinary line: the last one",
}
"""What the log of a failed build shows, by the name of its cause."""
