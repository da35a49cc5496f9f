"""The job's summary, in Markdown. What it shows of others is only text in it, and no secret."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime, timedelta, timezone
from urllib.parse import urlsplit

from clinder.errors import ClinderError
from clinder.session import Attempt, Session

_STRUCTURE = re.compile(r"^[-+=\d]|[^\w\s,.:/+=@-]|(?<!\w)[_@]|[_@](?!\w)")
_LINKABLE = re.compile(r"https?://[\w.:/%@+=,~-]+", re.ASCII)
_MYBINDER = "mybinder.org"
_MYBINDER_MAXIMUM = timedelta(hours=6)


def format_started(session: Session) -> str:
    """Return what is known of a session that runs."""
    rows = [
        ("hub", _link(session.hub, session.hub) + _member(session)),
        ("repository", _commit(session)),
        ("environment", _escape(session.reuse)),
        ("image", f"<code>{_escape(session.image)}</code>" if session.image else ""),
        ("time", _phases(session)),
        ("culled", _culling(session)),
    ]
    table = "".join(f"| {name} | {value} |\n" for name, value in rows if value)
    return f"### A Jupyter session\n\n| | |\n|---|---|\n{table}\n" + _attempts(session.attempts)


def format_failed(error: ClinderError, message: str, attempts: Iterable[Attempt]) -> str:
    """Return why there is no session, and each build request before the last."""
    link = error.context.link
    first, *rest = (_escape(line) for line in message.split("\n") if not link or link not in line)
    by_hand = f"{_link(link, 'Launch it by hand')}\n\n" if link else ""
    text = "\n\n".join([f"**{first}**", *rest])
    return f"### No Jupyter session\n\n{text}\n\n{by_hand}" + _attempts(tuple(attempts))


def format_stopped(session: Session, now: datetime, *, ran: bool) -> str:
    """Return how a session ended and, by its start and ``now``, how long it lived."""
    spec = session.persistent_spec or session.spec
    name = f"The session of {_escape(spec)}" if spec else "The session"
    if not ran:
        return f"{name} was gone before the end of the job.\n\n"
    lived = _lifetime(session, now)
    return f"{name} is stopped{lived and f', it lived {lived}'}.\n\n"


def format_not_stopped(reason: str) -> str:
    """Return that a session may still run."""
    return f"**The session may still run** until its hub culls it. {_escape(reason)}\n\n"


def _member(session: Session) -> str:
    """Return the member of a federation that runs the session, where it is not the hub itself."""
    host = urlsplit(session.launch_host or session.url).hostname or ""
    return f", member {_escape(host)}" if host and host != urlsplit(session.hub).hostname else ""


def _commit(session: Session) -> str:
    spec = session.persistent_spec or session.spec
    shown = _link(session.ref_url, spec)
    return f"{shown} ({_link(session.binder_link, 'launch it again')})"


def _phases(session: Session) -> str:
    phases = [f"{_escape(name)} {seconds:.1f} s" for name, seconds in session.phases.items()]
    return f"{sum(session.phases.values()):.1f} s: {', '.join(phases)}" if phases else ""


def _culling(session: Session) -> str:
    host = urlsplit(session.hub).hostname or ""
    if host != _MYBINDER and not host.endswith(f".{_MYBINDER}"):
        return "by the hub, once nothing has used it for a while; the job stops it before"
    begun = _parse_time(session.started_at)
    latest = f" ({begun + _MYBINDER_MAXIMUM:%H:%M} UTC)" if begun else ""
    return f"by the hub, after 10 idle minutes or 6 hours{latest}; the job stops it before"


def _attempts(attempts: tuple[Attempt, ...]) -> str:
    if not attempts or [attempt.outcome for attempt in attempts] == ["ready"]:
        return ""
    rows = "".join(
        f"| {number} | {_escape(each.hub)} | {_escape(each.outcome)} | {each.seconds:.0f} s"
        f" | {_escape(each.reason)} |\n"
        for number, each in enumerate(attempts, start=1)
    )
    return f"| build request | hub | outcome | time | why |\n|---|---|---|---|---|\n{rows}\n"


def _lifetime(session: Session, now: datetime) -> str:
    begun = _parse_time(session.started_at)
    if begun is None:
        return ""
    minutes, seconds = divmod(max(0, round((now - begun).total_seconds())), 60)
    return f"{minutes} min {seconds} s" if minutes else f"{seconds} s"


def _parse_time(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text).astimezone(timezone.utc)
    except ValueError:
        return None


def _link(url: str, text: str) -> str:
    """Return a link, or only the text where the URL is not one that can stand in Markdown."""
    return f"[{_escape(text)}]({url})" if _LINKABLE.fullmatch(url) else _escape(text)


def _escape(text: str) -> str:
    """Return text of which no character means anything to Markdown or HTML."""
    return _STRUCTURE.sub(lambda found: f"&#{ord(found[0])};", " ".join(text.split()))
