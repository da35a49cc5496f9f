"""One Jupyter Server: its status, its kernels, its shutdown. Each call is one request.

The meaning of the responses behind a BinderHub's proxy was recorded from real hubs: after a
shutdown, the proxy sends 503, then 302 to a ``/hub/`` page; on mybinder.org it sends 424.
"""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any
from urllib.parse import quote, urlsplit

from clinder._deadline import Deadline
from clinder._text import one_line, truncate
from clinder.errors import (
    ClinderError,
    KernelspecMissing,
    RequestRefused,
    ServerNotReady,
    ServerUnreachable,
    TokenRefused,
)
from clinder.session import Session
from clinder.wire.http import Response, Transport
from clinder.wire.http_errors import TransportError
from clinder.wire.json_fields import get_object, get_text, parse, parse_object

_NAMES = 20
_KERNEL_ID = 200  # characters; a kernel's id is a UUID
_LINE = 600  # characters of a server's text that are shown
_PAGE = 64 * 1024  # characters of an error page that are read; a Jupyter Server's has 3,000
_PAGE_REASON = re.compile(r"<pre[^<>]{0,100}>([^<]{1,600})</pre>")  # its template error.html
_NOT_THE_TOKEN = re.compile(r"_?xsrf|blocking", re.IGNORECASE)
"""In the reasons for a 403 that a Jupyter Server also sends if the token is valid: it defends
itself against other web pages, or is set up for another host (``base/handlers.py``)."""


class State(Enum):
    """What a response proves about the server."""

    RUNNING = "running"
    GONE = "gone"
    ABSENT = "absent"
    """Not there now: gone if clinder shut it down, otherwise a failing proxy or a wrong URL."""
    UNCLEAR = "unclear"


@dataclass(frozen=True)
class Status:
    """The state of a server with the reason for it, and what a running server reports.

    ``kernels`` is their number. ``started`` and ``last_activity`` are the server's own times in ISO
    8601; a request to ``api/status`` does not count as activity. ``certain`` is false for a server
    that seems gone only because the hub responds in its place: after a restart, the hub's proxy has
    lost its routes, and passes the requests for running servers to the hub, too.
    """

    state: State
    message: str
    kernels: int = 0
    started: str = ""
    last_activity: str = ""
    certain: bool = True


@dataclass(frozen=True)
class Server:
    """The requests to one session's server. They follow no redirects, because these have a meaning.

    Each raises its deadline's errors, and for a 401 or 403 :class:`~clinder.errors.TokenRefused`
    or, if the reason is not the token, :class:`~clinder.errors.RequestRefused`.
    """

    session: Session
    transport: Transport

    def status(self, deadline: Deadline) -> Status:
        """Return what one request to ``api/status`` shows."""
        try:
            answer = self._call("GET", "api/status", deadline)
        except TransportError as error:
            return self._unreached(error)
        if answer.status == 200 and (data := parse_object(answer.body)) is not None:
            kernels = data.get("kernels")
            return Status(
                State.RUNNING,
                "running",
                kernels=kernels if isinstance(kernels, int) else 0,
                started=_line(data, "started"),
                last_activity=_line(data, "last_activity"),
            )
        return _classify(answer)

    def shutdown(self, deadline: Deadline) -> bool:
        """Tell the server to shut down; return whether it accepted.

        For any 401 or 403 this raises :class:`~clinder.errors.RequestRefused`: whether the server
        accepts the token was clear before.
        """
        try:
            return self._call("POST", "api/shutdown", deadline).status == 200
        except TokenRefused:
            raise RequestRefused("The session's server refused POST api/shutdown.") from None
        except TransportError:
            return False

    def keep_alive(self, deadline: Deadline) -> Status:
        """Return the status, with a request that the server and the hub both count as activity."""
        try:
            answer = self._call("GET", "api/kernels", deadline)
        except TransportError as error:
            return self._unreached(error)
        return Status(State.RUNNING, "running") if answer.status == 200 else _classify(answer)

    def kernelspecs(self, deadline: Deadline) -> Mapping[str, Any]:
        """Return the server's kernelspecs and its default one, in the server's own form."""
        path = "api/kernelspecs"
        return self._to_json(self._reach("GET", path, deadline), f"GET {path}")

    def kernelspec(self, name: str, deadline: Deadline) -> str:
        """Return the name of a kernelspec; for ``""`` that of the server's default.

        Raises :class:`~clinder.errors.KernelspecMissing` if the server does not have it.
        """
        default, names = self._kernelspecs(deadline)
        if name and name not in names:
            raise KernelspecMissing(
                f"The session has no kernelspec {name!r}, only: {_enumerate(names)}."
            )
        return name or default

    def start_kernel(self, kernelspec: str, label: str, deadline: Deadline) -> str:
        """Start a kernel of a kernelspec (``""``: the server's default) and return its id.

        ``label`` must be unique. :meth:`find_kernel` finds the kernel by it if the response is
        lost. Raises :class:`~clinder.errors.KernelspecMissing` if the server does not have it, even
        though it is its default, and :class:`~clinder.errors.ServerNotReady` if the server cannot
        start the kernel for another reason, for example because its program is missing.
        """
        kernel = {"name": kernelspec} if kernelspec else {}
        session = {"path": label, "name": label, "type": "console", "kernel": kernel}
        answer = self._reach("POST", "api/sessions", deadline, session)
        if answer.status == 501:  # services/sessions/handlers.py
            default, names = self._kernelspecs(deadline)
            missing = kernelspec or default
            if missing not in names:
                which = f"{'default ' if missing == default else ''}kernelspec {missing!r}"
                raise KernelspecMissing(
                    f"The session's {which} is not installed, only: {_enumerate(names)}."
                )
        data = self._to_json(answer, "POST api/sessions", ServerNotReady)
        if not (kernel_id := _kernel_id_of(data)):
            raise ServerUnreachable("The session's server started no kernel, and gave no reason.")
        if problem := _line(get_object(data, "clinder"), "problem"):  # the gateway made it up
            raise ServerNotReady(f"The kernel cannot be used: {problem}")
        return kernel_id

    def find_kernel(self, label: str, deadline: Deadline) -> str:
        """Return the id of the kernel with this label, ``""`` until the server lists it.

        Raises :class:`~clinder.wire.http_errors.TransportError`.
        """
        sessions = parse(self._call("GET", "api/sessions", deadline).body)
        for session in sessions if isinstance(sessions, list) else ():
            if isinstance(session, dict) and session.get("path") == label:
                return _kernel_id_of(session)
        return ""

    def kernel_is_dead(self, kernel_id: str, deadline: Deadline) -> bool:
        """Whether the server has given up on a kernel.

        It does so after several restarts. Until then it reports that the kernel is starting.
        """
        try:
            answer = self._call("GET", _kernel_path(kernel_id), deadline)
        except TransportError:
            return False
        data = parse_object(answer.body)
        if answer.status == 404:
            return data is not None  # a proxy's page proves nothing about the kernel
        return answer.status == 200 and data is not None and data.get("execution_state") == "dead"

    def delete_kernel(self, kernel_id: str, deadline: Deadline) -> bool:
        """Delete a kernel; return whether it is gone, even if it was gone before."""
        return self._call("DELETE", _kernel_path(kernel_id), deadline).status in (204, 404)

    def _unreached(self, error: TransportError) -> Status:
        """Return what a failed request proves. A proxy that restarts refuses connections, too."""
        if error.refused:
            state = State.GONE if self.session.is_embedded else State.ABSENT
            return Status(state, "nothing listens at its address")
        return Status(State.UNCLEAR, error.message)

    def _call(
        self, method: str, path: str, deadline: Deadline, json: object | None = None
    ) -> Response:
        answer = self.transport.request(
            method,
            self.session.url + path,
            deadline=deadline,
            token=self.session.access_token,
            json=json,
        )
        if answer.status in (401, 403):
            reason = self._reason(answer)
            if _NOT_THE_TOKEN.search(reason):
                raise RequestRefused(
                    f"The session's server refused {method} {path}: {reason.rstrip('.')}."
                )
            raise TokenRefused("The session's server refused the token.")
        return answer

    def _reach(
        self, method: str, path: str, deadline: Deadline, json: object | None = None
    ) -> Response:
        """Return a response; raise :class:`~clinder.errors.ServerUnreachable` if there is none."""
        try:
            return self._call(method, path, deadline, json=json)
        except TransportError as error:
            message = f"The session's server is unreachable: {error.message}."
            raise ServerUnreachable(message) from None

    def _to_json(
        self, answer: Response, request: str, error_type: type[ClinderError] = ServerUnreachable
    ) -> Mapping[str, Any]:
        """Return the JSON object of a response; raise ``error_type`` if the server refuses."""
        data = parse_object(answer.body)
        if answer.status >= 300 or data is None:
            reason = self._reason(answer) if data else ""
            by_server = data is not None and 400 <= answer.status <= 501  # otherwise by a proxy
            raise (error_type if by_server else ServerUnreachable)(
                f"The session's server responded with {answer.status} to {request}"
                + (f": {reason}." if reason else ".")
            )
        return data

    def _kernelspecs(self, deadline: Deadline) -> tuple[str, list[str]]:
        """Return the name of the server's default kernelspec, and those that it has."""
        data = self.kernelspecs(deadline)
        names = sorted(one_line(each, _LINE) for each in get_object(data, "kernelspecs"))
        return _line(data, "default"), names

    def _reason(self, answer: Response) -> str:
        """Return the reason in an error response, which can be JSON or a page; it can be ``""``."""
        data = parse_object(answer.body)
        if data is not None:
            reason = _line(data, "message")
        else:
            match = _PAGE_REASON.search(answer.body[:_PAGE].decode("utf-8", "replace"))
            reason = one_line(html.unescape(match[1]), _LINE) if match else ""
        return reason.replace(self.session.access_token, "…")  # an error can echo the request


def _enumerate(names: list[str]) -> str:
    """Return the first of these names for a message."""
    more = f" and {len(names) - _NAMES} more" if len(names) > _NAMES else ""
    return truncate(", ".join(names[:_NAMES]), _LINE) + more or "none"


def _kernel_path(kernel_id: str) -> str:
    return f"api/kernels/{quote(kernel_id, safe='')}"


def _classify(answer: Response) -> Status:
    """Return what a response other than the expected 200 proves about the server."""
    if answer.status == 302 and leads_to_hub(answer.headers.get("Location", "")):
        return Status(State.GONE, "the hub does not know it", certain=False)
    if answer.status == 424:
        return Status(State.GONE, "the hub reports that it is stopped (424)", certain=False)
    if answer.status in (404, 502, 503):
        return Status(State.ABSENT, f"it responded with {answer.status}")
    problem = f"it responded with {answer.status}"
    if answer.status < 500:
        problem += ", which no Jupyter Server does"
    # One that starts a kernel can respond with 500 (kernelmanager.py: a kernel that it already
    # lists has no ``last_activity`` yet).
    return Status(State.UNCLEAR, problem)


def leads_to_hub(location: str) -> bool:
    """Whether a redirect leads to a page of the hub, which takes the place of a stopped server."""
    try:
        return "/hub/" in urlsplit(location).path
    except ValueError:
        return False


def _kernel_id_of(session: Mapping[str, Any]) -> str:
    kernel_id = get_text(get_object(session, "kernel"), "id")
    return kernel_id if len(kernel_id) <= _KERNEL_ID else ""


def _line(data: Mapping[str, Any], name: str) -> str:
    return one_line(get_text(data, name), _LINE)
