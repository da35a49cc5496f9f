"""One Jupyter Server: its status, its kernels, its shutdown. It says what happened, once.

What the answers mean behind a BinderHub's proxy was recorded from the real thing: after a
shutdown 503, then 302 to a ``/hub/`` page, on mybinder.org 424.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any
from urllib.parse import quote, urlsplit

from clinder._deadline import Deadline
from clinder._text import one_line, truncate
from clinder._urls import is_loopback
from clinder.errors import (
    ClinderError,
    KernelspecMissing,
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


class State(Enum):
    """What a server's answer says about it."""

    RUNNING = "running"
    GONE = "gone"
    ABSENT = "absent"
    """Not there now: gone if we shut it down, else a hiccup of the proxy or a mistyped URL."""
    UNCLEAR = "unclear"


@dataclass(frozen=True)
class Status:
    """The state of a server, in words, and what it told of itself while running.

    ``kernels`` counts them; ``started`` and ``last_activity`` are ISO 8601 as the server has
    them. ``last_activity`` is the server's own clock, which ``api/status`` does not move.
    """

    state: State
    message: str
    kernels: int = 0
    started: str = ""
    last_activity: str = ""


@dataclass(frozen=True)
class Kernelspecs:
    """The kernelspecs that a server has, and which is its default."""

    default: str
    names: tuple[str, ...]

    def __str__(self) -> str:
        """Return the names as a sentence has them, the first of very many."""
        more = f" and {len(self.names) - _NAMES} more" if len(self.names) > _NAMES else ""
        return truncate(", ".join(self.names[:_NAMES]), 600) + more or "none"


@dataclass(frozen=True)
class Server:
    """The calls to one session's server. Redirects are never followed, and say something.

    Each raises what its deadline raises, and :class:`~clinder.errors.TokenRefused` on a 403.
    """

    session: Session
    transport: Transport

    def status(self, deadline: Deadline) -> Status:
        """Return whether the server runs, as one request to ``api/status`` shows."""
        try:
            answer = self._call("GET", "api/status", deadline)
        except TransportError as error:
            return _unreached(error, self.session.url)
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
        """Ask the server to shut down; return whether it said that it will."""
        try:
            return self._call("POST", "api/shutdown", deadline).status == 200
        except TransportError:
            return False

    def keep_alive(self, deadline: Deadline) -> Status:
        """Return the status as :meth:`status` does, by a request that both cullers count."""
        try:
            answer = self._call("GET", "api/kernels", deadline)
        except TransportError as error:
            return _unreached(error, self.session.url)
        if answer.status == 200:
            return Status(State.RUNNING, "running")
        return _classify(answer)

    def kernelspecs(self, deadline: Deadline) -> Kernelspecs:
        """Return the kernelspecs that the server has."""
        data = self._request_json("GET", "api/kernelspecs", deadline)
        names = (one_line(name, _LINE) for name in get_object(data, "kernelspecs"))
        return Kernelspecs(_line(data, "default"), tuple(sorted(names)))

    def kernelspec(self, name: str, deadline: Deadline) -> str:
        """Return the name of a kernelspec that the server has; for ``""`` of its default.

        Raises :class:`~clinder.errors.KernelspecMissing`, naming those that it has.
        """
        specs = self.kernelspecs(deadline)
        if name and name not in specs.names:
            raise KernelspecMissing(f"The session has no kernelspec {name!r}, only: {specs}.")
        return name or specs.default

    def start_kernel(self, kernelspec: str, label: str, deadline: Deadline) -> str:
        """Start a kernel of that kernelspec and return its id; ``""`` is the server's default.

        By ``label``, which no other has, it is found where the answer is lost: a server lists it as
        a console's once it runs. Raises :class:`~clinder.errors.ServerNotReady` where the server
        fails at it, as for a missing program.
        """
        kernel = {"name": kernelspec} if kernelspec else {}
        wanted = {"path": label, "name": label, "type": "console", "kernel": kernel}
        data = self._request_json(
            "POST", "api/sessions", deadline, json=wanted, error_type=ServerNotReady
        )
        if not (identity := _kernel_id_of(data)):
            raise ServerUnreachable("The session's server started no kernel, and gave no reason.")
        return identity

    def find_kernel(self, label: str, deadline: Deadline) -> str:
        """Return the id of the kernel with that label, ``""`` where the server lists none yet.

        Raises :class:`~clinder.wire.http_errors.TransportError`.
        """
        listed = parse(self._call("GET", "api/sessions", deadline).body)
        for each in listed if isinstance(listed, list) else ():
            if isinstance(each, dict) and each.get("path") == label:
                return _kernel_id_of(each)
        return ""

    def kernel_is_dead(self, kernel_id: str, deadline: Deadline) -> bool:
        """Whether the server says that it has given a kernel up.

        It does so after several restarts; until then a kernel that dies is said to be starting.
        """
        try:
            answer = self._call("GET", _kernel_path(kernel_id), deadline)
        except TransportError:
            return False
        data = parse_object(answer.body)
        if answer.status == 404:
            return data is not None  # a proxy's page says nothing about the kernel
        return answer.status == 200 and data is not None and data.get("execution_state") == "dead"

    def delete_kernel(self, kernel_id: str, deadline: Deadline) -> bool:
        """Delete a kernel; return whether it is gone, also where it was before."""
        return self._call("DELETE", _kernel_path(kernel_id), deadline).status in (204, 404)

    def _call(
        self, method: str, path: str, deadline: Deadline, json: object | None = None
    ) -> Response:
        answer = self.transport.request(
            method,
            self.session.url + path,
            deadline=deadline,
            token=self.session.token,
            json=json,
        )
        if answer.status in (401, 403):
            raise TokenRefused("The session's server refused the token.")
        return answer

    def _request_json(
        self,
        method: str,
        path: str,
        deadline: Deadline,
        json: object | None = None,
        error_type: type[ClinderError] = ServerUnreachable,
    ) -> Mapping[str, Any]:
        """Return the JSON object that is the answer; ``fails`` is what the server's refusal is."""
        try:
            answer = self._call(method, path, deadline, json=json)
        except TransportError as error:
            raise ServerUnreachable(
                f"The session's server is unreachable: {error.message}."
            ) from None
        data = parse_object(answer.body)
        if answer.status >= 300 or data is None:
            said = _line(data, "message") if data else ""
            said = said.replace(self.session.token, "…")  # whoever answers may echo what it got
            refused = data is not None and 400 <= answer.status <= 500  # else it is a proxy's
            kind = error_type if refused else ServerUnreachable
            raise kind(
                f"The session's server answered {answer.status} to {method} {path}"
                + (f": {said}." if said else ".")
            )
        return data


def _kernel_path(kernel_id: str) -> str:
    return f"api/kernels/{quote(kernel_id, safe='')}"


def _unreached(error: TransportError, url: str) -> Status:
    if error.refused:
        state = State.GONE if is_loopback(url) else State.ABSENT
        return Status(state, "nothing listens at its address")
    return Status(State.UNCLEAR, error.message)


def _classify(answer: Response) -> Status:
    """Return what an answer other than the wanted 200 says about the server."""
    if answer.status == 302 and _leads_to_hub(answer.headers.get("Location", "")):
        return Status(State.GONE, "the hub knows no such running server")
    if answer.status == 424:
        return Status(State.GONE, "the hub's proxy answers that the server is stopped (424)")
    if answer.status in (404, 502, 503):
        return Status(State.ABSENT, f"it answered {answer.status}")
    return Status(State.UNCLEAR, f"it answered {answer.status}, as no Jupyter Server does")


def _leads_to_hub(location: str) -> bool:
    try:
        return "/hub/" in urlsplit(location).path
    except ValueError:
        return False


def _kernel_id_of(session: Mapping[str, Any]) -> str:
    """Return the id of the kernel of a Jupyter session, ``""`` if it has none."""
    kernel_id = get_text(get_object(session, "kernel"), "id")
    return kernel_id if len(kernel_id) <= _KERNEL_ID else ""


def _line(data: Mapping[str, Any], name: str) -> str:
    return one_line(get_text(data, name), _LINE)
