"""The job's summary, in Markdown. It shows untrusted text as text only, and no secret."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime, timedelta, timezone
from urllib.parse import urlsplit

from clinder._text import one_line
from clinder.action.annotation import name_inputs
from clinder.errors import ClinderError
from clinder.gateway.closing import count, describe_memory, describe_nothing, format_seconds
from clinder.gateway.report import Kernel, Report
from clinder.session import Attempt, Session

_STRUCTURE = re.compile(r"^[-+=\d]|[^\w\s,.:/+=@-]|(?<!\w)[_@]|[_@](?!\w)")
_LINKABLE = re.compile(r"https?://[\w.:/%@+=,~-]+", re.ASCII)
_MAX_PAGES = 50
_MAX_ERROR = 200
_MYBINDER = "mybinder.org"
_MYBINDER_MAXIMUM = timedelta(hours=6)


def format_started(session: Session) -> str:
    """Return a summary of a session that is running."""
    rows = [
        ("hub", _link(session.hub, session.hub) + _member(session)),
        ("repository", _commit(session)),
        ("environment", _escape(session.reuse)),
        ("image", _image(session)),
        ("time", _phases(session)),
        ("culled", _culling(session)),
    ]
    table = "".join(f"| {name} | {value} |\n" for name, value in rows if value)
    return f"### A Jupyter session\n\n| | |\n|---|---|\n{table}\n" + _attempts(session.attempts)


def format_failed(error: ClinderError, message: str, attempts: Iterable[Attempt]) -> str:
    """Return why no session was started, and the table of attempts."""
    link = error.context.link
    first, *rest = (_escape(line) for line in message.split("\n") if not link or link not in line)
    by_hand = f"{_link(link, 'Launch it by hand')}\n\n" if link else ""
    text = "\n\n".join([f"**{first}**", *rest])
    return f"### No Jupyter session\n\n{text}\n\n{by_hand}" + _attempts(tuple(attempts))


def format_stopped(session: Session, now: datetime, *, ran: bool) -> str:
    """Return how a session ended and, from its start until ``now``, how long it ran."""
    spec = session.persistent_spec or session.spec
    name = f"The session of {_escape(spec)}" if spec else "The session"
    if not ran:
        return f"{name} was gone before the end of the job.\n\n"
    lifetime = _lifetime(session, now)
    return f"{name} was stopped{lifetime and f' after {lifetime}'}.\n\n"


def format_not_stopped(reason: str) -> str:
    """Return that a session might still be running."""
    return f"**The session might keep running** until its hub culls it. {_escape(reason)}\n\n"


def format_report(report: Report) -> str:
    """Return a table of the pages that ran on the session."""
    if not report.kernels:
        return f"{_escape(describe_nothing(report))}\n\n"
    failed = set(report.failed)
    kernels = sorted(report.kernels, key=lambda each: each not in failed)
    rows = "".join(map(_page, kernels[:_MAX_PAGES]))
    more = len(kernels) - _MAX_PAGES
    memory = describe_memory(report.resources)
    return (
        "### What ran on the session\n\n"
        f"{_result_of_all(report)}\n\n"
        f"| page | kernel | cells | time | result |\n|---|---|---|---|---|\n{rows}\n"
        + (f"… and {count(more, 'more page')}.\n\n" if more > 0 else "")
        + (f"Memory: at most {_escape(memory)}.\n\n" if memory else "")
        + "".join(f"- {_escape(warning)}\n" for warning in report.warnings)
        + "\n"
    )


def _result_of_all(report: Report) -> str:
    """Return how many pages failed, and what to do about them."""
    if not report.failed:
        return "No page failed."
    pages = f"{_pages(report.failed)} of {_pages(report.kernels)} pages failed"
    return f"**{pages}.** The last column names the cell to correct, and the reason."


def _pages(kernels: Iterable[Kernel]) -> int:
    return len({each.page or each for each in kernels})


def _page(kernel: Kernel) -> str:
    cells = kernel.cells + kernel.unfinished
    fields = (kernel.page, kernel.kernelspec, str(cells), format_seconds(kernel.seconds))
    return f"| {' | '.join(map(_escape, fields))} | {_result(kernel)} |\n"


def _result(kernel: Kernel) -> str:
    """Return how a page ended: what it failed with, or what else is worth knowing."""
    if kernel.problem:
        return f"**{_escape(kernel.problem)}**"
    if error := kernel.ended_by:
        where = "in" if error.kind == "cell" else "after"
        text = _escape(one_line(error.text, _MAX_ERROR))
        return f"**{_escape(error.name)}** {where} cell {error.cell}: {text}"
    notes = [
        f"{count(kernel.error_count, 'error')} allowed" if kernel.error_count else "",
        "the connection broke" if kernel.across_reconnections else "",
        "the server dropped output" if kernel.dropped_output else "",
    ]
    return ", ".join(filter(None, notes)) or "ok"


def _member(session: Session) -> str:
    """Return the member of the federation that runs the session, unless it is the hub itself."""
    host = urlsplit(session.launch_host or session.url).hostname or ""
    return f", member {_escape(host)}" if host and host != urlsplit(session.hub).hostname else ""


def _commit(session: Session) -> str:
    spec = session.persistent_spec or session.spec
    return f"{_link(session.ref_url, spec)} ({_link(session.binder_link, 'launch it again')})"


def _image(session: Session) -> str:
    """Return the image and, if known, whether the hub had it before the launch."""
    if not session.image:
        return ""
    origins = {True: ", which the hub had already", False: ", built for this session", None: ""}
    return f"<code>{_escape(session.image)}</code>{origins[session.image_found]}"


def _phases(session: Session) -> str:
    phases = [f"{_escape(name)} {seconds:.1f} s" for name, seconds in session.phases.items()]
    return f"{sum(session.phases.values()):.1f} s: {', '.join(phases)}" if phases else ""


def _culling(session: Session) -> str:
    host = urlsplit(session.hub).hostname or ""
    if host != _MYBINDER and not host.endswith(f".{_MYBINDER}"):
        return "by the hub after some idle time, unless the job stops it earlier"
    start = _parse_time(session.started_at)
    latest = f" ({start + _MYBINDER_MAXIMUM:%H:%M} UTC)" if start else ""
    return f"by the hub after 10 idle minutes or 6 hours{latest}, unless the job stops it earlier"


def _attempts(attempts: tuple[Attempt, ...]) -> str:
    if not attempts or [attempt.outcome for attempt in attempts] == ["ready"]:
        return ""
    rows = "".join(
        f"| {number} | {_escape(each.hub)} | {each.seconds:.0f} s"
        f" | {_escape(name_inputs(each.reason or each.outcome))}{_log_line(each)} |\n"
        for number, each in enumerate(attempts, start=1)
    )
    return f"| attempt | hub | time | result |\n|---|---|---|---|\n{rows}\n"


def _log_line(attempt: Attempt) -> str:
    return f" <code>{_escape(attempt.log_line)}</code>" if attempt.log_line else ""


def _lifetime(session: Session, now: datetime) -> str:
    start = _parse_time(session.started_at)
    if start is None:
        return ""
    minutes, seconds = divmod(max(0, round((now - start).total_seconds())), 60)
    return f"{minutes} min {seconds} s" if minutes else f"{seconds} s"


def _parse_time(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text).astimezone(timezone.utc)
    except ValueError:
        return None


def _link(url: str, text: str) -> str:
    """Return a link, or only the text if the URL is unsafe in Markdown."""
    return f"[{_escape(text)}]({url})" if _LINKABLE.fullmatch(url) else _escape(text)


def _escape(text: str) -> str:
    """Return text in which no character has a meaning in Markdown or HTML."""
    return _STRUCTURE.sub(lambda match: f"&#{ord(match[0])};", " ".join(text.split()))
