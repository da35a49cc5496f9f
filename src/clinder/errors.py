"""Every way to fail: its exit code, and what to do about it.

An error says what happened when it is raised; whoever knows on which hub and for which
repository it happened adds that as :class:`Context`. Both surfaces print errors the same way.
"""

from __future__ import annotations

from dataclasses import dataclass

EXIT_CODES: tuple[tuple[int, str], ...] = (
    (0, "done"),
    (1, "the remote code raised"),
    (2, "usage: an argument, option or file is not what it should be"),
    (3, "refused as asked: spec, ref, repository, banned, bots, token, login or kernelspec"),
    (4, "the build failed"),
    (5, "the hub is busy: full, over the repository's quota, or rate limited"),
    (6, "the hub or the network is unreachable or broken, or it is not a BinderHub"),
    (7, "timeout"),
    (8, "the launch failed, or the server never became ready"),
    (9, "the stop failed: the token was refused, or the session still runs"),
    (10, "the session is gone (status, exec, run)"),
    (70, "a bug in clinder"),
    (130, "cancelled by SIGINT (Ctrl-C)"),
    (143, "cancelled by SIGTERM or SIGHUP"),
)
"""The one table of exit codes; ``--help`` and the documentation are made from it."""


@dataclass(frozen=True)
class Context:
    """Where an error happened, and what was last seen there."""

    hub: str = ""
    repository: str = ""
    link: str = ""
    log: tuple[str, ...] = ()


class ClinderError(Exception):
    """The base of all errors that clinder raises on purpose.

    ``exit_code`` is from :data:`EXIT_CODES`; ``hint`` says what to do next.
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
    """The code that ran on the session raised, or its kernel died."""

    exit_code = 1
    hint = "The traceback above is from the session's kernel."


class UsageError(ClinderError):
    """An argument, an option or a file is not what it should be. Nothing was sent."""

    exit_code = 2


class Refused(ClinderError):
    """The hub refused what was asked, and would refuse it again."""

    exit_code = 3
    hint = "Asking again will not help: change what is asked."


class UnknownProvider(Refused):
    """The hub has no such repository provider (``builder.py``)."""

    hint = "The hub lists the providers that it has at /api/repoproviders; or try another hub."


class MalformedSpec(Refused):
    """The hub could not read the spec."""

    hint = "Compare the spec with the forms that `clinder start --help` shows."


class RefNotFound(Refused):
    """The repository or the ref does not exist, or is private."""

    hint = (
        "Check the spelling, that the commit or branch is pushed, and that the repository is "
        "public. A hub remembers a missing ref for five minutes."
    )


class Banned(Refused):
    """The hub does not launch the repository."""

    hint = "Ask the people who run the hub, or use another hub with --hub."


class NetworkRefused(Refused):
    """The hub refuses requests from this network."""

    hint = "Use another hub with --hub, or run from another network."


class BotsRefused(Refused):
    """The hub took us for a robot (binderhub#2107)."""

    hint = "Use another hub with --hub, and report this to clinder's developers."


class BuildTokenRefused(Refused):
    """The hub refused the build token."""

    hint = (
        "A build token is bound to one hub and one spec, and lives five minutes: "
        "get a new one, or leave it out."
    )


class LoginRequired(Refused):
    """The hub needs a login, which clinder does not support."""

    hint = (
        "clinder works with hubs that anyone may use without logging in: use another hub with "
        "--hub, for example https://mybinder.org."
    )


class KernelspecMissing(Refused):
    """The image has no such kernelspec."""

    hint = "Name one of the kernelspecs that the image has, or add it to the environment."


class CommitMismatch(Refused):
    """The hub launched another commit than the one that was asked for."""

    hint = "Check that the commit is pushed to that repository, then try again."


class BuildFailed(ClinderError):
    """The image could not be built."""

    exit_code = 4
    hint = "The last log lines say why. The environment files of the repository decide the build."


class HubBusy(ClinderError):
    """The hub cannot take this launch now."""

    exit_code = 5
    hint = "Try again later, or name a second hub with --hub."


class HubFull(HubBusy):
    """The hub has too many users (``quota.py``)."""


class QuotaReached(HubBusy):
    """Too many sessions of this repository run on the hub (``quota.py``)."""

    hint = "Stop sessions of this repository that are not needed, or try again later."


class RateLimited(HubBusy):
    """Too many build requests from this address (``ratelimit.py``)."""

    hint = (
        "A hub allows some ten build requests an hour from one address, which the runners of a "
        "CI provider can share: try again later, or name a second hub with --hub."
    )


class HubError(ClinderError):
    """The hub, or the network on the way to it, does not work."""

    exit_code = 6
    hint = "Check that the hub's page opens in a browser, then try again."


class HubUnreachable(HubError):
    """No connection to the hub, or the connection broke."""

    hint = "Check the hub's address, and this machine's network."


class HubDown(HubUnreachable):
    """Nobody of the hub is there now: its address refuses connections, or its proxy answers 503."""

    hint = (
        "Check the hub's address. A hub that restarts is back in a minute or two: try again, or "
        "name another hub with --hub."
    )


class CertificateUntrusted(HubError):
    """The hub's certificate is not trusted; asking again will not change that."""

    hint = (
        "Check it, and this machine's clock. Where a network has an authority of its own, name "
        "its certificate's file in REQUESTS_CA_BUNDLE."
    )


class HubBroken(HubError):
    """The hub answered with an error of its own."""

    hint = "The fault is the hub's: try again later, or name another hub with --hub."


class NotABinderHub(HubError):
    """What answered is not a BinderHub, or not at this address."""

    hint = (
        "Give the hub's base URL, with its path prefix if it has one: the address at which its "
        "launch page opens."
    )


class ServerUnusable(HubError):
    """The hub said that the server is ready, but not usably where it is."""

    hint = "The fault is the hub's: name another hub with --hub."


class RepositoryHostFailed(HubError):
    """The hub could not ask the place where the repository is kept.

    That is also what a hub says of a git URL that does not exist, or is not public.
    """

    hint = (
        "Check that the repository exists and is public. If it is, the fault lies between the hub "
        "and the repository's host: try again later."
    )


class ServerUnreachable(HubError):
    """The session's server does not answer as a Jupyter Server does."""

    hint = "Check the session's URL, and this machine's network."


class OutputDropped(HubError):
    """The session's server did not pass on all that the code printed."""

    hint = "Let the code print less, or more slowly, or write a file on the session."


class TimedOut(ClinderError):
    """The overall time ran out."""

    exit_code = 7
    hint = "Give it longer with --timeout SECONDS, or try again: an image is built only once."


class LaunchFailed(ClinderError):
    """The image exists, but no server of it could be launched."""

    exit_code = 8
    hint = "Try again, or name another hub with --hub. If it stays so, try the link in a browser."


class ServerNotReady(LaunchFailed):
    """The server was launched, but never became usable."""


class StopFailed(ClinderError):
    """The session could not be stopped, or still runs."""

    exit_code = 9
    hint = "Try again. A session that nothing uses is culled by its hub, on mybinder.org in 10 min."


class TokenRefused(StopFailed):
    """The server does not accept the session's token."""

    hint = "Check that URL and token belong together, and that the token is whole."


class SessionGone(ClinderError):
    """The session runs no more."""

    exit_code = 10
    hint = "Start another with `clinder start`."


class Cancelled(ClinderError):
    """Cancelled by a signal or by the caller.

    The exit code, 130 for SIGINT and 143 for another signal, is the surface's: it knows the signal.
    """

    exit_code = 130
    hint = ""


def format_error(error: ClinderError) -> list[str]:
    """Return the lines that tell a person what happened, where, and what to do next."""
    context = error.context
    told = [error.message]
    if context.hub:
        told.append(f"  hub:        {context.hub}")
    if context.repository:
        told.append(f"  repository: {context.repository}")
    if context.log:
        told += ["  the hub said last:", *(f"    | {line}" for line in context.log)]
    if error.hint:
        told.append(f"  what to do: {error.hint}")
    if context.link:
        told.append(f"  by hand:    {context.link}")
    return told
