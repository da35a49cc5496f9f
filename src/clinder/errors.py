"""Every error that clinder raises: its exit code, and a hint on what to do.

The code that raises an error writes its message. A launch adds the hub, the repository and the last
log lines as a :class:`Context`.
"""

from __future__ import annotations

from dataclasses import dataclass

EXIT_CODES: tuple[tuple[int, str], ...] = (
    (0, "success"),
    (1, "the code run in the session raised an error"),
    (2, "usage error: an argument, option or file is invalid"),
    (3, "refused: spec, ref, repository, ban, bot filter, build token, login or kernelspec"),
    (4, "the build failed"),
    (5, "the hub is busy: it is full, or a quota or rate limit is reached"),
    (6, "the hub or the network failed, or the address is not a BinderHub"),
    (7, "a time limit expired"),
    (8, "the launch failed, or the server never became ready"),
    (9, "stopping failed: the token was refused, or the session is still running"),
    (10, "the session is gone (status, exec, run)"),
    (70, "a bug in clinder"),
    (74, "the output could not be written: nobody reads it, or the disk is full"),
    (130, "cancelled by SIGINT (Ctrl-C)"),
    (143, "cancelled by SIGTERM, SIGHUP or, on Windows, Ctrl-Break"),
)
"""Each exit code and its meaning; ``--help`` and the documentation show this table."""


@dataclass(frozen=True)
class Context:
    """A failed launch's hub and spec, a link to try it in a browser, and its last log lines.

    If a build failed, ``cause`` and ``log_line`` are those of the attempt, and ``log`` holds the
    lines around ``log_line``.
    """

    hub: str = ""
    repository: str = ""
    link: str = ""
    log: tuple[str, ...] = ()
    cause: str = ""
    log_line: str = ""


class ClinderError(Exception):
    """Base class of all errors that clinder raises deliberately.

    ``exit_code`` is one of :data:`EXIT_CODES`; ``hint`` suggests what to do next.
    """

    exit_code: int = 70
    hint: str = ""

    def __init__(self, message: str, *, hint: str | None = None, context: Context | None = None):
        super().__init__(message)
        self.message = message
        self.context = context or Context()
        if hint is not None:
            self.hint = hint

    def __str__(self) -> str:
        return self.message


class CodeRaised(ClinderError):
    """The code run in the session raised an error, or its kernel died."""

    exit_code = 1
    hint = "The traceback above is from the session's kernel."


class UsageError(ClinderError):
    """An argument, an option or a file is invalid."""

    exit_code = 2


class Refused(ClinderError):
    """The hub refused the request, and would refuse it again."""

    exit_code = 3
    hint = "Retrying does not help: change the request."


class UnknownProvider(Refused):
    """The hub does not support the repository provider (``builder.py``)."""

    hint = "Use a provider that the hub lists at /api/repoproviders, or another hub with --hub."


class MalformedSpec(Refused):
    """The hub could not parse the spec."""

    hint = "Compare the spec with the forms that `clinder start --help` shows."


class RefNotFound(Refused):
    """The repository or the ref does not exist, or is private."""

    hint = (
        "Check the spelling, that the commit or branch is pushed, and that the repository is "
        "public. A hub remembers a missing ref for five minutes."
    )


class Banned(Refused):
    """The hub does not launch this repository: it is banned, or not on the hub's list."""

    hint = (
        "The hub has banned this repository, or launches only those on a list, without their "
        "forks. Contact the hub's operators, or use another hub with --hub."
    )


class NetworkRefused(Refused):
    """The hub refuses requests from this network."""

    hint = "Use another hub with --hub, or run clinder from another network."


class BotsRefused(Refused):
    """The hub mistook clinder for a bot (binderhub#2107)."""

    hint = "Use another hub with --hub, and report this to clinder's developers."


class BuildTokenRefused(Refused):
    """The hub refused the build token."""

    hint = "A token is valid for one hub, one spec and five minutes. Get a new one, or omit it."


class LoginRequired(Refused):
    """The hub requires a login, and clinder has no hub token that it could send to the hub."""

    hint = (
        "If JupyterHub manages the login, create a token on the JupyterHub's page `Token`, and "
        "pass it with `--hub-token @FILE`. Otherwise, use --hub with a hub that requires no login, "
        "for example https://mybinder.org."
    )


class HubTokenRefused(Refused):
    """The hub, or its JupyterHub, refuses the hub token, or the token permits too little."""

    hint = (
        "Check that the token is complete, has not expired and belongs to this hub, or create a "
        "new one on the JupyterHub's page `Token`."
    )


class TokenNotIssued(Refused):
    """The hub issues no token for this server only, and clinder hands out no other one."""

    hint = (
        "Use `clinder run`, which hands out a gateway, or create a hub token that also has the "
        "scope tokens!user."
    )


class ProxyRefused(Refused):
    """A proxy in front of the hub refuses the request."""

    hint = (
        "The proxy might require a login, or refuse this network. Open the link in a browser, or "
        "use another hub with --hub."
    )


class ChallengePage(ProxyRefused):
    """A proxy in front of the hub only lets browsers pass, and asks for a proof."""

    hint = (
        "Use another hub with --hub, or run clinder from another network. The hub's operators can "
        "exempt its /build addresses."
    )


class UrlTooLong(ProxyRefused):
    """A proxy in front of the hub does not accept a URL of this length."""

    hint = (
        "Shorten the spec: name a commit in place of a long branch. Or omit the build token, or "
        "use another hub with --hub."
    )


class SlashesRefused(ProxyRefused):
    """A proxy in front of the hub does not pass on an encoded slash (``%2F``)."""

    hint = (
        "Name a commit in place of a branch with a slash, or use another hub with --hub. The "
        "hub's operators can pass %2F on (Apache: AllowEncodedSlashes NoDecode)."
    )


class KernelspecMissing(Refused):
    """The image does not have the requested kernelspec, or not the server's default one."""

    hint = "Choose one of the image's kernelspecs, or add the missing one to the environment files."


class CommitNotCloned(Refused):
    """The repository's host knows the commit, but a clone of the repository does not have it."""

    hint = (
        "No branch or tag of this repository contains the commit: it belongs to a fork, or was "
        "squashed or force-pushed. Name the fork, or push the commit to a branch."
    )


class CommitMismatch(Refused):
    """The hub launched a commit other than the requested one."""

    hint = "Check that the commit is pushed to that repository, then try again."


class BuildFailed(ClinderError):
    """The image cannot be built from the repository. Another build would fail in the same way."""

    exit_code = 4
    hint = (
        "Correct the repository's environment files, such as environment.yml or requirements.txt, "
        "from which the hub builds the image."
    )


class HubBusy(ClinderError):
    """The hub cannot accept this launch now."""

    exit_code = 5
    hint = "Try again later, or add a second hub with --hub."


class HubFull(HubBusy):
    """The hub has reached its limit of sessions (``quota.py``)."""


class QuotaReached(HubBusy):
    """The hub has reached its limit of sessions of this repository (``quota.py``)."""

    hint = "Stop sessions of this repository that are no longer needed, or try again later."


class AccountInUse(HubBusy):
    """The user already has as many servers on the hub as the hub permits."""

    hint = (
        "clinder stops no server that it has not started. Stop it on the JupyterHub's page "
        "/hub/home, or use another account or another hub with --hub."
    )


class RateLimited(HubBusy):
    """Too many build requests came from this address (``ratelimit.py``)."""

    hint = (
        "A hub accepts about ten build requests an hour from one address, which several CI "
        "runners might share. Try again later, or add a second hub with --hub."
    )


class HostRateLimited(HubBusy):
    """The repository's host limits how many requests the hub can send to it."""

    hint = "Try again after the time in the message, or add a second hub with --hub."


class HubError(ClinderError):
    """The hub, or the network between it and clinder, does not work."""

    exit_code = 6
    hint = "Check that the hub's page opens in a browser, then try again."


class HubUnreachable(HubError):
    """There was no connection to the hub, or the connection broke."""

    hint = "Check the hub's address, and this machine's network."


class HubSilent(HubUnreachable):
    """The connection to the hub exists, but nothing arrived on it for too long."""

    hint = (
        "Check the hub's address, and this machine's network. If a proxy holds the hub's response "
        "back until its end, clinder receives nothing either: allow for the whole launch with "
        "--idle-timeout SECONDS. The hub might then have started a server, which it culls later."
    )


class HubDown(HubUnreachable):
    """The hub is down: its address refuses connections, or its proxy responds with 503."""

    hint = (
        "Check the hub's address. If the hub is restarting, try again in a minute or two, or use "
        "another hub with --hub."
    )


class CertificateUntrusted(HubError):
    """The hub's certificate is not trusted. Retrying does not help."""

    hint = (
        "Check the certificate, and this machine's clock. If your network has its own "
        "certificate authority, set REQUESTS_CA_BUNDLE to the file of its certificate."
    )


class HubBroken(HubError):
    """The hub responded with an internal error."""

    hint = "The fault lies with the hub. Try again later, or use another hub with --hub."


class BuildInterrupted(HubError):
    """A build ended early for a reason outside the repository. Another build might succeed."""


class BuilderDied(BuildInterrupted):
    """The program that builds images on the hub ended, or was killed."""

    hint = (
        "The builder might be out of memory or overloaded; nothing points to your environment. "
        "Try again later, or use another hub with --hub."
    )


class MirrorUnreachable(BuildInterrupted):
    """A server that the build needs was unreachable: a mirror, a git host or a registry."""

    hint = (
        "If the log shows an address from your environment files, check it. Otherwise, try again "
        "later, or use another hub with --hub."
    )


class BuildStalled(BuildInterrupted):
    """The build logged nothing for too long."""

    hint = (
        "If a step really takes that long without output, allow more time with "
        "--build-idle-timeout SECONDS. Otherwise, try again later, or use another hub with --hub."
    )


class NotABinderHub(HubError):
    """The address does not belong to a BinderHub, or is not its base URL."""

    hint = "Use the hub's base URL with its path prefix, if any: the address of its launch page."


class ServerUnusable(HubError):
    """The hub reported a ready server whose URL or token cannot be used."""

    hint = "The fault lies with the hub. Use another hub with --hub."


class RepositoryHostFailed(HubError):
    """The hub could not get a response from the repository's host.

    A hub also reports this for a git URL that does not exist or is not public.
    """

    hint = "Check that the repository exists and is public. If it is, try again later."


class GitHostFailed(RepositoryHostFailed):
    """git failed on the hub, and its output does not show whether another attempt would, too."""


class ServerUnreachable(HubError):
    """The session's server does not respond like a Jupyter Server."""

    hint = "Check the session's URL, and this machine's network."


class OutputDropped(HubError):
    """The session's server dropped part of the code's output."""

    hint = "Print less, print more slowly, or write the output to a file in the session."


class TimedOut(ClinderError):
    """A time limit expired."""

    exit_code = 7
    hint = "Allow more time with --timeout SECONDS, or try again: an image is built only once."


class LaunchFailed(ClinderError):
    """The image exists, but the hub could not start a server from it."""

    exit_code = 8
    hint = "Try again, or use another hub with --hub. If this persists, try the link in a browser."


class ServerNotReady(LaunchFailed):
    """The server was launched, but never became usable."""


class StopFailed(ClinderError):
    """The session could not be stopped, or is still running."""

    exit_code = 9
    hint = (
        "Check the session's URL, and try again. The hub culls an idle session (mybinder.org: "
        "after 10 minutes)."
    )


class TokenRefused(StopFailed):
    """The server rejects the session's token."""

    hint = "Check that the URL and the token belong together, and that the token is complete."


class RequestRefused(StopFailed):
    """The session's server refuses a request, but not because of the token."""

    hint = (
        "The image's Jupyter configuration causes this, for example by setting an empty token. "
        "Correct it in the repository. The hub culls an idle session (mybinder.org: after 10 "
        "minutes)."
    )


class SessionGone(ClinderError):
    """The session is no longer running."""

    exit_code = 10
    hint = "Start a new one with `clinder start`."


class Cancelled(ClinderError):
    """Cancelled by a signal or by the caller.

    The surfaces set the exit code: 130 for SIGINT, 143 for other signals.
    """

    exit_code = 130


def format_error(error: ClinderError) -> list[str]:
    """Return the lines that show a person what happened, where, and what to do next."""
    context = error.context
    lines = [error.message]
    if context.hub:
        lines.append(f"  hub:        {context.hub}")
    if context.repository:
        lines.append(f"  repository: {context.repository}")
    if context.log_line:
        lines.append(f"  log shows:  {context.log_line}")
    if context.log:
        heading = "around it" if context.log_line else "last log lines"
        lines += [f"  {heading}:", *(f"    | {line}" for line in context.log)]
    if error.hint:
        lines.append(f"  what to do: {error.hint}")
    if context.link:
        lines.append(f"  link:       {context.link}")
    return lines
