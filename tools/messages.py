"""What each error says and why, for docs/troubleshooting.md; what to do is the error's own hint.

``…`` stands for what differs from case to case. A test finds each message in the sources, and no
error without one.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Message:
    """``says``: how the message begins, the usual one first. ``do``: more than the hint says."""

    says: tuple[str, ...]
    why: str
    do: str = ""


FAMILIES = ("HubBusy",)
"""Errors that are never raised themselves: others are of their kind."""

MESSAGES = {
    "CodeRaised": Message(
        ("The code raised … on the session.", "The session's code did not end: …"),
        "`clinder exec` ran the code, and it failed there, on the hub. The traceback stands above "
        "the message. In the second case the kernel died, most often because the session ran out "
        "of memory: 2 GB on mybinder.org.",
        "Mend the code, or the environment of the image.",
    ),
    "UsageError": Message(
        (
            "No repository is named, and this is no git checkout.",
            "Commit … is not pushed yet: …",
            "The repository names the ref …, and another one was given: …",
            "This checkout has no remote origin",
            "No session is named: JUPYTER_BASE_URL and JUPYTER_TOKEN are not both set.",
            "The session file … names a session that still runs.",
            "No command to run was given.",
            "The command … was not found, or cannot be run: nothing was started.",
            "clinder exec runs plain code, not notebooks.",
            "The head repository of this … event is gone: the fork was deleted.",
            "The embedded hub is not part of the action.",
        ),
        "An argument, an option, an input or a file is not what it should be. Nothing was sent to "
        "a hub. Each of these messages has its own advice in the line under it.",
        "Read that line. `clinder COMMAND --help` has the options, with examples.",
    ),
    "OutputLost": Message(
        ("The output could not be written: …",),
        "Whatever should have read clinder's output is gone, or the disk is full. A session that "
        "was started is stopped, as nobody has its token.",
    ),
    "Refused": Message(
        ("The hub refused: …", "The hub answered …"),
        "The hub said no, with a reason that clinder does not know. It stands after the colon.",
    ),
    "UnknownProvider": Message(
        ("The hub does not have this provider: …",),
        "Each hub decides from where it takes repositories. mybinder.org has all forms that "
        "clinder knows; smaller hubs often have GitHub only.",
    ),
    "MalformedSpec": Message(
        (
            "The hub cannot read the spec: …",
            "The hub does not take this URL: …",
            "The hub wants a ref: …",
        ),
        "The hub has this provider, but reads what follows differently. It may be an older or a "
        "changed BinderHub.",
    ),
    "RefNotFound": Message(
        ("The repository or its ref was not found: …", "The gist is secret: …"),
        "The hub asked GitHub, GitLab or another host, and was told that there is no such thing. "
        "That is also the answer for what is private, for a commit that is not pushed, and for a "
        "fork that was deleted.",
    ),
    "Banned": Message(
        ("The hub does not launch this repository: …",),
        "Those who run the hub have put the repository, or its owner, on a list.",
    ),
    "NetworkRefused": Message(
        ("The hub refuses this network: …",),
        "The hub does not take requests from the address from which you ask. Networks of some "
        "cloud providers are refused, and a runner is in one.",
        "A next `--hub` is tried by itself.",
    ),
    "BotsRefused": Message(
        ("The hub took clinder for a robot: …",),
        "Newer hubs refuse what calls itself a bot, a crawler or a spider. clinder does not, so "
        "this should not happen.",
        "A next `--hub` is tried by itself.",
    ),
    "BuildTokenRefused": Message(
        ("The hub refused the build token: …",),
        "A build token is made by a hub for one of its pages. It fits that hub and that spec only, "
        "to the letter.",
    ),
    "LoginRequired": Message(
        ("The hub needs a login, which clinder does not support: …",),
        "Such hubs have users, and the session belongs to one of them. "
        "[Hubs](hubs.md#hubs-that-need-a-login) says more.",
    ),
    "KernelspecMissing": Message(
        ("The session has no kernelspec …, only: …",),
        "`--warm-up`, `warm-up` or `--kernel` names a kernelspec that is not in the image. Its "
        "name is not the language's: it is `python3`, `ir`, `julia-1.11`. The message lists those "
        "that are there.",
    ),
    "CommitMismatch": Message(
        ("The hub launched …, not …",),
        "A commit was asked for and another one runs. clinder has stopped that session, as it "
        "would have run the wrong code.",
    ),
    "BuildFailed": Message(
        ("The image could not be built: …",),
        "repo2docker, which builds the image from `environment.yml` and its like, failed. The last "
        "20 lines of its log are in the message. Where the builder was killed they just end: then "
        "it often ran out of memory, while it solved a conda environment.",
        "`jupyter-repo2docker .` builds the same image on your own machine, with Docker.",
    ),
    "HubFull": Message(
        ("The hub is full: …",),
        "All places of the hub are taken. clinder has tried the other hubs, and another member of "
        "mybinder.org's federation, and has waited 60 s and 240 s where the time allowed it.",
    ),
    "QuotaReached": Message(
        ("The repository's quota on the hub is used up: …",),
        "A hub runs only so many sessions of one repository at a time, mybinder.org 100.",
    ),
    "RateLimited": Message(
        (
            "The hub limits how often it may be asked: …",
            "Rate limit exceeded: the hub, or what stands before it, answered 429.",
        ),
        "Each build request counts, reconnections too. The number of seconds in the hub's own "
        "words is the length of its period, not the time that is left. clinder does not ask "
        "that hub again.",
    ),
    "HubError": Message(
        ("The hub sent an event too large to be one.",),
        "One message of the hub had over 256 KiB, so what answers is hardly a BinderHub.",
    ),
    "HubUnreachable": Message(
        ("The hub is unreachable: …", "The hub ended the stream before the launch had ended."),
        "There was no connection, or it broke. clinder has asked three times.",
        "The message says what the network did: a name that does not resolve, a refused "
        "connection, nothing that came for 75 s.",
    ),
    "HubDown": Message(
        ("The hub answered 503, as a proxy does whose hub is away.", "The hub is unreachable: …"),
        "The hub restarts, or its address is wrong. clinder has tried for about a minute, unless "
        "`--attempts 1` was given.",
    ),
    "CertificateUntrusted": Message(
        ("The hub's certificate is not trusted …",),
        "The reason stands in brackets: it is expired, or of another name, or its authority is "
        "unknown here. Many companies' networks have an authority of their own.",
    ),
    "HubBroken": Message(
        (
            "The hub failed: …",
            "The hub failed without a word.",
            "The hub answered …",
            "The hub lost sight of the build: …",
        ),
        "The hub answered with an error of its own. clinder has asked three times.",
    ),
    "NotABinderHub": Message(
        ("This is not a BinderHub's address: …",),
        "A web page answered, or a redirect, where a BinderHub has its build service. The usual "
        "causes are a mistyped address, a JupyterHub's address in place of a BinderHub's, and a "
        "path prefix that is missing, as in `https://example.org/services/binder/`. A hub in "
        "API-only mode launches nothing; the message then says that it builds only.",
    ),
    "ServerUnusable": Message(
        (
            "The hub said that the server is ready, but gave no URL or no token.",
            "The hub is https, but its server is plain http: the token would be seen.",
        ),
        "The hub is set up wrongly.",
    ),
    "RepositoryHostFailed": Message(
        ("The hub could not ask the repository's host: …",),
        "The hub got an error from GitHub or another host. GitHub limits how often a hub may ask, "
        "too. clinder has asked three times.",
    ),
    "ServerUnreachable": Message(
        (
            "The session's server is unreachable: …",
            "The session's server answered … to …",
            "The session's kernel is unreachable: …",
            "Whether the session runs is not known: …",
        ),
        "Something answers at the session's address, or nothing does, and it does not prove that "
        "the session is gone either. It may be a hiccup of the hub's proxy.",
        "`clinder status` asks again until the answer is clear.",
    ),
    "OutputDropped": Message(
        ("The session's server dropped a part of the output, as it says above.",),
        "A Jupyter Server passes on only so much output a second. The code ran; what it printed is "
        "not whole.",
    ),
    "TimedOut": Message(
        ("The launch did not end within … s.", "The code did not end within … s"),
        "Building a new image can take 10 to 30 min, and the whole launch has 20 min. The build "
        "goes on at the hub, so the next try is quicker.",
    ),
    "KernelNotRemoved": Message(
        (
            "The session's server did not say that it removed the kernel.",
            "The session's server did not say which kernel it started.",
        ),
        "The time was over while a kernel was being started or removed. It may run on in the "
        "session.",
        "`clinder stop` ends the session and what runs on it.",
    ),
    "LaunchFailed": Message(
        ("The server could not be launched: …",),
        "The image exists, but the hub could not start a server of it: it has tried four times. "
        "The cluster may be full, or the image's start command fails.",
    ),
    "ServerNotReady": Message(
        (
            "The server was launched but never became usable: …",
            "The server was launched, but no kernel: …",
            "The kernel cannot be used: …",
        ),
        "The server did not answer in 120 s, or its first kernel died. With a kernel that dies the "
        "environment is usually the cause: two packages that do not fit.",
        "`--no-warm-up`, or `warm-up: false`, hands the session out without starting a kernel.",
    ),
    "StopFailed": Message(
        (
            "The session still runs: it did not shut down in time.",
            "Whether the session still runs is not known: …",
        ),
        "The server was told to shut down, again and again, and did not do it in time; or it "
        "cannot be seen whether it did.",
    ),
    "TokenRefused": Message(
        ("The session's server refused the token.",),
        "A server answers there, but not to this token: it is cut off, or of another session.",
    ),
    "SessionGone": Message(
        (
            "The session is gone: …",
            "The session at … is gone: …",
            "The session went away, so the command was ended.",
        ),
        "Nothing runs at that address any more. A hub stops what was idle, 10 min on mybinder.org, "
        "and what is too old, 6 h there; and a session that used more memory than it may have.",
    ),
    "ClinderError": Message(
        ("A bug in clinder …",),
        "clinder met something that it did not foresee.",
        "Report the line at <https://github.com/org/clinder-action/issues>.",
    ),
    "Cancelled": Message(
        ("Cancelled.", "Cancelled by …"),
        "Ctrl-C, or the end of the CI job, which sends a signal. What was started is stopped; "
        "where that is not certain, the line before says so. The exit code is 130 for Ctrl-C, 143 "
        "for SIGTERM and SIGHUP.",
    ),
}
