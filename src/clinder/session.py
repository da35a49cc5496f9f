"""A session: the URL and the token of a running Jupyter Server, and how it was launched."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, TypeGuard
from urllib.parse import parse_qs, quote, urlsplit, urlunsplit

from clinder._types import require_type
from clinder._urls import is_loopback
from clinder.errors import UsageError

EMBEDDED_PATH = "/clinder-hub/"
"""How the path of each of the embedded hub's sessions begins."""

_PAGES = (
    # Of Jupyter Server, JupyterLab and Notebook.
    *("api", "consoles", "doc", "edit", "files", "kernelspecs", "lab", "login", "logout"),
    *("metrics", "nbclassic", "nbconvert", "notebooks", "retro", "static", "terminals", "tree"),
    "view",
    # Of extensions, and of programs behind jupyter-server-proxy.
    *("apps", "code-server", "dashboards", "desktop", "git-pull", "mlflow", "nteract"),
    *("openrefine", "openvscode", "panel", "pluto", "proxy", "rstudio", "shiny", "streamlit"),
    *("tensorboard", "theia", "voila", "vscode"),
)
_BELOW_SERVER = re.compile(rf"(/user/[^/]+/(?:[^/]+/)??)(?:{'|'.join(_PAGES)})(?:/.*)?$")
_VISIBLE_ASCII = r"[!-~]+"  # what an HTTP header can contain, without spaces


@dataclass(frozen=True)
class Attempt:
    """One build request and its outcome.

    ``outcome`` is ``ready`` or the name of an error; ``reason`` is the error's message. ``seconds``
    is how long it took, ``waited`` the wait before it. If a build failed, ``cause`` names the
    cause, such as ``builder-died``, and ``log_line`` is the log line that explains it.
    """

    hub: str
    outcome: str
    reason: str = ""
    seconds: float = 0.0
    waited: float = 0.0
    cause: str = ""
    log_line: str = ""


@dataclass(frozen=True)
class Account:
    """The user of a JupyterHub under whose account a session runs, on a hub that requires a login.

    ``user`` is the name. ``launch_id`` is the value by which JupyterHub shows which launch a server
    belongs to; it opens nothing. ``token_id`` names the session's token at JupyterHub, if it issued
    one. ``token`` is the user's own token, which stands for the whole account: it is in no file and
    no output, so it is empty in an account that was read from a file.
    """

    user: str
    launch_id: str = field(default="", repr=False)
    token_id: str = ""
    token: str = field(default="", repr=False, compare=False)

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[!-~]*", self.token):
            raise UsageError("The hub token contains a space or a non-ASCII character.")

    def to_json(self) -> dict[str, str]:
        """Return the fields for a JSON object, without the user's token."""
        return {"user": self.user, "launch_id": self.launch_id, "token_id": self.token_id}


@dataclass(frozen=True)
class Session:
    """A running Jupyter Server and its token.

    ``url`` ends in a slash. Without a ``hub``, it can be given as the URL of a page below the
    server, such as ``…/user/x/lab``. ``image_found`` is whether the hub had the image before the
    launch, ``None`` if that is unknown. If clinder launched a commit other than the requested one,
    ``asked_spec`` is the requested spec, and ``reuse`` explains the choice. ``phases`` maps
    each phase to its seconds; ``started_at`` is UTC in ISO 8601. ``kernels`` is the folder of
    kernelspecs that ``clinder start --kernels`` has written. ``account`` is set if the hub requires
    a login, and ``account.user`` is the user's name. If the hub issued no token for this server,
    ``token`` is empty, and only a gateway opens the session. ``repr`` and ``str`` never show the
    token; :attr:`uri` and :meth:`to_json` contain it.
    Raises :class:`~clinder.errors.UsageError` if the URL or the token is invalid.
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
    image_found: bool | None = None
    asked_spec: str = ""
    reuse: str = ""
    started_at: str = ""
    phases: Mapping[str, float] = field(default_factory=dict)
    attempts: tuple[Attempt, ...] = ()
    kernels: str = ""
    account: Account | None = None

    def __post_init__(self) -> None:
        for name in ("url", "token", "hub"):
            require_type(f"A session's {name}", getattr(self, name), str)
        url = _server_url(self.url)
        # A hub's own URL is exact, and a named server can have the name of a page.
        object.__setattr__(self, "url", url if self.hub else _BELOW_SERVER.sub(r"\1", url))
        if not self.token and not self.account:
            raise UsageError("The session has no token.", hint=_HINT)
        if self.token and not re.fullmatch(_VISIBLE_ASCII, self.token):
            raise UsageError("The session's token contains invalid characters.", hint=_HINT)

    @property
    def uri(self) -> str:
        """The URL and the token in one: ``https://…/user/x/?token=…``."""
        return f"{self.url}?token={quote(self.token, safe='')}" if self.token else self.url

    @property
    def access_token(self) -> str:
        """The token that opens the server: the session's own or, if it has none, the user's.

        Raises :class:`~clinder.errors.UsageError` if neither is known.
        """
        token = self.token or (self.account.token if self.account else "")
        if not token:
            raise hub_token_missing()
        return token

    @property
    def secrets(self) -> tuple[str, ...]:
        """Everything that no output must show: the tokens, and the launch's id."""
        account = (self.account.launch_id, self.account.token) if self.account else ()
        return tuple(filter(None, (self.token, *account)))

    def for_user(self, token: str) -> Session:
        """Return the session with the token of the user under whose account it runs, if any."""
        if self.account is None or not token:
            return self
        return replace(self, account=replace(self.account, token=token))

    def is_same(self, other: Session) -> bool:
        """Whether both are one session, even if one lacks the user's token."""
        return (self.uri, self.account) == (other.uri, other.account)

    @property
    def variables(self) -> dict[str, str]:
        """The environment variables that let MyST and Jupyter Book use an existing server."""
        return {"JUPYTER_BASE_URL": self.url, "JUPYTER_TOKEN": self.token}

    @property
    def is_embedded(self) -> bool:
        """Whether the embedded hub launched it, so that no proxy is in front of its server."""
        return is_loopback(self.url) and urlsplit(self.url).path.startswith(EMBEDDED_PATH)

    @classmethod
    def from_uri(cls, uri: str) -> Session:
        """Parse a URI with ``?token=``, such as one from a browser's address bar."""
        require_type("A session's URI", uri, str)
        try:
            parts = urlsplit(_strip(uri))
            tokens = parse_qs(parts.query).get("token", [])
        except ValueError:
            raise UsageError("This is not a session URI.", hint=_HINT) from None
        if len(set(tokens)) > 1:
            raise UsageError("The session URI contains more than one token.", hint=_HINT)
        return cls(urlunsplit((*parts[:3], "", "")), tokens[0] if tokens else "")

    @classmethod
    def from_json(cls, text: str) -> Session:
        """Parse a JSON object that has ``url`` and ``token``, or ``uri``."""
        import json

        require_type("A session's JSON", text, str)
        try:
            data = json.loads(text)
        except (ValueError, RecursionError):
            raise UsageError("This is not a session in JSON.", hint=_HINT) from None
        if not isinstance(data, dict):
            raise UsageError("A session in JSON must be an object.", hint=_HINT)
        if not data.get("url") and isinstance(data.get("uri"), str):
            return cls.from_uri(data["uri"])
        return cls(**_fields_from_json(data))

    @classmethod
    def parse(cls, text: str) -> Session:
        """Parse a session URI or a JSON object."""
        require_type("A session's text", text, str)
        return cls.from_json(text) if text.lstrip().startswith("{") else cls.from_uri(text)

    def to_json(self) -> dict[str, Any]:
        """Return the fields for a JSON object, with the token and the URI."""
        values = {"url": self.url, "token": self.token, "uri": self.uri, **self.without_token()}
        return {**values, "account": self.account.to_json() if self.account else None}

    def without_token(self) -> dict[str, Any]:
        """Return the same without the token and the URI, for others to see."""
        values = {name: value for name, value in asdict(self).items() if name != "token"}
        return {**values, "account": {"user": self.account.user} if self.account else None}


def hub_token_missing() -> UsageError:
    """Return the error for a session that only its user's token can open or stop."""
    return UsageError(
        "The session runs under a user's account on its hub, and the hub token is missing.",
        hint="Use `--hub-token @FILE`, or set CLINDER_HUB_TOKEN, as for the session's launch.",
    )


_HINT = "Use the session's URI, https://HUB/user/NAME/?token=TOKEN, or a session file."


def _server_url(url: str) -> str:
    """Return a Jupyter Server's URL: it ends in a slash, and has no query.

    Raises :class:`~clinder.errors.UsageError` unless it is an http(s) URL with a host.
    """
    try:
        parts = urlsplit(_strip(url))
        valid = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        valid = False
    if not valid or parts.query or parts.fragment or parts.username or parts.password:
        raise UsageError("This is not the HTTP(S) URL of a session.", hint=_HINT)
    path = parts.path if parts.path.endswith("/") else parts.path + "/"
    return urlunsplit((parts.scheme, parts.netloc, path, "", ""))


def _strip(url: str) -> str:
    url = url.strip()  # a line of a file ends in a newline
    if not url.isprintable() or " " in url:
        raise UsageError("A session's URL cannot contain spaces or control characters.", hint=_HINT)
    return url


def _fields_from_json(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the known fields; a value of the wrong type is ignored."""
    values: dict[str, Any] = {"url": "", "token": ""}
    for each in fields(Session):
        value = data.get(each.name)
        if each.name == "attempts" and isinstance(value, list):
            values[each.name] = tuple(_parse_attempt(one) for one in value if isinstance(one, dict))
        elif each.name == "phases" and isinstance(value, dict):
            values[each.name] = {str(k): float(v) for k, v in value.items() if _is_number(v)}
        elif each.name == "image_found":
            values[each.name] = value if isinstance(value, bool) else None
        elif each.name == "account":
            values[each.name] = _parse_account(value) if isinstance(value, dict) else None
        elif isinstance(value, str) and each.name not in ("attempts", "phases"):
            values[each.name] = value
    return values


def _parse_attempt(data: Mapping[str, Any]) -> Attempt:
    names = ("hub", "outcome", "reason", "cause", "log_line")
    texts = {name: str(data.get(name, "")) for name in names}
    return Attempt(**texts, seconds=_seconds(data, "seconds"), waited=_seconds(data, "waited"))


def _parse_account(data: Mapping[str, Any]) -> Account:
    user, launch_id, token_id = (str(data.get(each) or "") for each in Account("").to_json())
    return Account(user, launch_id, token_id)


def _seconds(data: Mapping[str, Any], name: str) -> float:
    value = data.get(name)
    return float(value) if _is_number(value) else 0.0


def _is_number(value: object) -> TypeGuard[float]:
    """Whether a value is a number, within the limits of a float."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) <= sys.float_info.max
