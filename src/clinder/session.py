"""A running session: the URL and the token of a Jupyter Server, and where they came from."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, TypeGuard
from urllib.parse import parse_qs, quote, urlsplit, urlunsplit

from clinder.errors import UsageError

_APPLICATION = r"(/user/[^/]+/)(?:lab|tree|notebooks|doc|edit|retro|api)(?:/.*)?$"
_VISIBLE = r"[!-~]+"  # what an HTTP header can hold, without blanks


@dataclass(frozen=True)
class Attempt:
    """One build request: at which hub, how it ended and why, after how many seconds.

    ``waited``: the seconds before it, in which nothing was asked.
    """

    hub: str
    outcome: str
    reason: str = ""
    seconds: float = 0.0
    waited: float = 0.0


@dataclass(frozen=True)
class Session:
    """A running Jupyter Server and the token that opens it.

    ``url`` ends in a slash. ``spec`` is what was launched; where an environment was to be
    reused, ``asked_spec`` is what was asked for, and ``reuse`` a sentence on why the one and not
    the other. ``phases`` maps each phase to its seconds, ``started_at`` is UTC in ISO 8601. The
    token is never shown by ``repr`` or ``str``; :attr:`uri` and :meth:`to_json` hold it. Raises
    :class:`~clinder.errors.UsageError` where URL or token cannot be used.
    """

    url: str
    token: str = field(repr=False)
    hub: str = ""
    launch_host: str = ""
    spec: str = ""
    persistent_spec: str = ""
    repo_url: str = ""
    ref_url: str = ""
    binder_link: str = ""
    image: str = ""
    asked_spec: str = ""
    reuse: str = ""
    started_at: str = ""
    phases: Mapping[str, float] = field(default_factory=dict)
    attempts: tuple[Attempt, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "url", server_url(self.url))
        if not self.token:
            raise UsageError("The session has no token.", hint=_FORM)
        if not re.fullmatch(_VISIBLE, self.token):
            raise UsageError("The session's token holds characters that no token has.", hint=_FORM)

    @property
    def uri(self) -> str:
        """URL and token in one, ``https://…/user/x/?token=…``."""
        return f"{self.url}?token={quote(self.token, safe='')}"

    @property
    def variables(self) -> dict[str, str]:
        """The variables by which MyST and Jupyter Book take an existing server."""
        return {"JUPYTER_BASE_URL": self.url, "JUPYTER_TOKEN": self.token}

    @classmethod
    def from_uri(cls, uri: str) -> Session:
        """Return the session that a URI with ``?token=`` names, as a browser's address may be."""
        try:
            parts = urlsplit(_strip(uri))
            tokens = parse_qs(parts.query).get("token", [])
        except ValueError:
            raise UsageError("This is not the URI of a session.", hint=_FORM) from None
        if len(set(tokens)) > 1:
            raise UsageError("The session's URI holds more than one token.", hint=_FORM)
        return cls(urlunsplit((*parts[:3], "", "")), tokens[0] if tokens else "")

    @classmethod
    def from_json(cls, text: str) -> Session:
        """Return the session that a JSON object describes: ``url`` and ``token``, or ``uri``."""
        import json

        try:
            data = json.loads(text)
        except (ValueError, RecursionError):
            raise UsageError("This is not JSON that describes a session.", hint=_FORM) from None
        if not isinstance(data, dict):
            raise UsageError("A session in JSON is an object.", hint=_FORM)
        if not data.get("url") and isinstance(data.get("uri"), str):
            return cls.from_uri(data["uri"])
        return cls(**_fields_from_json(data))

    @classmethod
    def parse(cls, text: str) -> Session:
        """Return the session that a text names, a URI or a JSON object."""
        return cls.from_json(text) if text.lstrip().startswith("{") else cls.from_uri(text)

    def to_json(self) -> dict[str, Any]:
        """Return the session as JSON has it, with its token and URI."""
        return {"url": self.url, "token": self.token, "uri": self.uri, **asdict(self)}


_FORM = "A session is named by its URI, https://HUB/user/NAME/?token=TOKEN, or by a session file."


def server_url(url: str) -> str:
    """Return the base URL of a Jupyter Server, ending in a slash, without query or application.

    Raises :class:`~clinder.errors.UsageError` where it is no http(s) URL of a host.
    """
    try:
        parts = urlsplit(_strip(url))
        valid = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        valid = False
    if not valid or parts.query or parts.fragment or parts.username or parts.password:
        raise UsageError("This is not the http(s) URL of a session.", hint=_FORM)
    path = parts.path if parts.path.endswith("/") else parts.path + "/"
    return urlunsplit((parts.scheme, parts.netloc, re.sub(_APPLICATION, r"\1", path), "", ""))


def _strip(url: str) -> str:
    url = url.strip()  # a line of a file has its end
    if not url.isprintable() or " " in url:
        raise UsageError("A session's URL holds no blanks or control characters.", hint=_FORM)
    return url


def _fields_from_json(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields that a session has, each of its type; what is of another type is left."""
    wanted: dict[str, Any] = {"url": "", "token": ""}
    for each in fields(Session):
        value = data.get(each.name)
        if each.name == "attempts" and isinstance(value, list):
            wanted[each.name] = tuple(_parse_attempt(one) for one in value if isinstance(one, dict))
        elif each.name == "phases" and isinstance(value, dict):
            wanted[each.name] = {str(k): float(v) for k, v in value.items() if _number(v)}
        elif isinstance(value, str) and each.name not in ("attempts", "phases"):
            wanted[each.name] = value
    return wanted


def _parse_attempt(data: Mapping[str, Any]) -> Attempt:
    texts = {name: str(data.get(name, "")) for name in ("hub", "outcome", "reason")}
    return Attempt(**texts, seconds=_seconds(data, "seconds"), waited=_seconds(data, "waited"))


def _seconds(data: Mapping[str, Any], name: str) -> float:
    value = data.get(name)
    return float(value) if _number(value) else 0.0


def _number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)
