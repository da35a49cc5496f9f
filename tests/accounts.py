"""A JupyterHub for one user, in front of a scripted hub that requires a login.

    with ScriptedHub() as hub:
        users = Users(hub)
        hub.then(users.launch("gh/org/repo/HEAD"))

It answers like JupyterHub 5 (``apihandlers/users.py``): a user's servers with their
``user_options``, stopping servers, and issuing tokens.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from answers import Answer, Ending, Framing, event, json_page, moved, ready
from hubs import Jupyter, Request, ScriptedHub

USER_TOKEN = "s3cret-t0ken-of-the-user-ann"
LAUNCH_ID = "l4unch-id-of-this-launch"
OWN_TOKEN = "s3cret-t0ken-for-this-server-only"
COMMIT = "1f" * 20
SCOPES = (
    "access:services!service=binder",
    "access:servers!user=ann",
    "delete:servers!user=ann",
    "read:servers!user=ann",
)
TOKENS = "tokens!user=ann"
WAITING = event(phase="waiting", message="Waiting for build to start...\n")
BUILT = event(phase="built", message="Built image, launching...\n", imageName="image")
LAUNCHING = WAITING + BUILT + event(phase="launching", message="Launching server...\n")


@dataclass
class Server:
    """A server of the user; ``options`` are those that a BinderHub gave it."""

    options: Mapping[str, str] = field(default_factory=dict)
    pending: str | None = None
    stopped: bool = False

    def model(self, name: str) -> dict[str, Any]:
        """Return what JupyterHub's API shows."""
        return {
            "name": name,
            "ready": not self.pending and not self.stopped,
            "pending": self.pending,
            "stopped": self.stopped,
            "user_options": dict(self.options),
        }


@dataclass
class Users:
    """The JupyterHub of a hub. ``faults`` replace the responses to its next API requests."""

    hub: ScriptedHub
    scopes: tuple[str, ...] = (*SCOPES, TOKENS)
    token: str = USER_TOKEN
    servers: dict[str, Server] = field(default_factory=dict)
    issued: dict[str, str] = field(default_factory=dict)
    faults: list[Answer] = field(default_factory=list)
    fault: Callable[[Request], Answer | None] = lambda _: None
    longest: int = 0
    """The hub's limit for how long a token is valid, in seconds; 0 is none."""
    expires_in: list[int] = field(default_factory=list)
    stops_at_once: bool = True
    issues: bool = True
    shows_login: bool = True
    others: bool = False
    """Whether the user's server is that of another launch."""
    has_names: bool = True
    progress: Answer | None = None
    """The response to a request for a server's progress; by default, it becomes ready."""

    def __post_init__(self) -> None:
        self.hub.jupyterhub = self.answer

    def launch(
        self,
        spec: str = "gh/org/repo/HEAD",
        *,
        name: str = "",
        launch_id: str = LAUNCH_ID,
        others: bool = False,
        commit: str = COMMIT,
        before: bytes = b"",
    ) -> Callable[[], Answer]:
        """Return a build that launches a server; with ``others``, it only reports one."""

        def build() -> Answer:
            if not others:
                self.start(name, spec, launch_id)
            persistent = f"v2/gh/org/repo/{commit}"
            last = ready(self.url(name), launch_id, binder_persistent_request=persistent)
            return Answer((before + LAUNCHING, last), ending=Ending.HELD)

        return build

    def start(self, name: str, spec: str, launch_id: str, pending: str | None = None) -> None:
        """Start a server, as a BinderHub does."""
        options = {"token": launch_id, "binder_request": f"v2/{spec}", "image": "image"}
        self.servers[name] = Server(options, pending=pending)
        server = Jupyter(USER_TOKEN, other_tokens=(OWN_TOKEN,))
        self.hub.serve(_path(name), server)

    def url(self, name: str = "") -> str:
        """Return the URL of a server of the user."""
        return f"{self.hub.origin}/user/ann/" + (f"{name}/" if name else "")

    @property
    def active(self) -> list[str]:
        """The names of the servers that run, start or stop."""
        return [name for name, each in self._running.items() if not each.stopped]

    @property
    def _running(self) -> dict[str, Server]:
        """The servers except those that have shut themselves down."""
        runs = self.hub.runs
        return {
            name: each for name, each in self.servers.items() if each.stopped or runs(_path(name))
        }

    def answer(self, request: Request) -> Answer | None:
        """Return the response to a request for JupyterHub, or ``None`` if it is for another."""
        path = request.path.partition("?")[0]
        if path == "/" and self.shows_login:
            return moved("/hub/api/oauth2/authorize?client_id=service-binder&response_type=code")
        if path == "/hub/api":
            return json_page(200, {"version": "5.4.4"})
        if path.startswith("/hub/api/"):
            fault = self.faults.pop(0) if self.faults else self.fault(request)
            if not fault and not self._is_user(request):
                fault = _refused("Missing or invalid credentials.")
            return fault or self._answer_api(request, path.removeprefix("/hub/api/"))
        if path.startswith("/build/") and not self._is_user(request):
            message = "Forbidden" if self.token else "user ann is not allowed."
            failed = event(phase="failed", status_code=403, message=f"{message}\n")
            return Answer(failed)
        return None

    def _is_user(self, request: Request) -> bool:
        return request.headers.get("authorization") == f"token {self.token}"

    def _answer_api(self, request: Request, path: str) -> Answer:
        match path.split("/"):
            case ["user"]:
                return json_page(200, self._model())
            case ["users", "ann", "tokens", *names]:
                return self._answer_tokens(request, "".join(names))
            case ["users", "ann", "server", *rest]:
                return self._answer_server(request, "", rest)
            case ["users", "ann", "servers", name, *rest]:
                return self._answer_server(request, name, rest)
        return json_page(404, {"message": "Not Found"})

    def _answer_tokens(self, request: Request, token_id: str) -> Answer:
        if request.method == "POST":
            return self._issue(json.loads(request.body))
        return _empty(204 if self.issued.pop(token_id, "") else 404)

    def _answer_server(self, request: Request, name: str, rest: list[str]) -> Answer:
        if rest == ["progress"]:
            return self._become_ready(name)
        return self.spawn(name, request) if request.method == "POST" else self._stop(name, request)

    def _permits(self, scope: str) -> bool:
        return any(each.partition("!")[0] == scope for each in self.scopes)

    def _model(self) -> dict[str, Any]:
        model: dict[str, Any] = {"kind": "user", "name": "ann", "scopes": list(self.scopes)}
        if self._permits("read:servers"):
            model["servers"] = {name: each.model(name) for name, each in self._running.items()}
        return model

    def _stop(self, name: str, request: Request) -> Answer:
        if not self._permits("delete:servers"):
            needed = "requires any of [delete:servers]"
            return _refused(f"Action is not authorized with current scopes; {needed}")
        if name not in self.servers:
            return json_page(404, {"message": "no such server"}) if name else _empty(204)
        removes = json.loads(request.body or b"{}").get("remove", False)
        if removes and not name:
            return json_page(400, {"message": "Cannot delete the default server"})
        if not self.stops_at_once:
            self.servers[name].pending = "stop"
            return _empty(202)
        self.hub.end(_path(name))
        self.servers[name].stopped, self.servers[name].pending = True, None
        if removes:
            del self.servers[name]
        return _empty(204)

    def spawn(self, name: str, request: Request) -> Answer:
        """Start a server as requested."""
        if name and not self.has_names:
            return json_page(400, {"message": "Named servers are not enabled."})
        if name in self.servers:
            return json_page(400, {"message": "ann is already running"})
        options = json.loads(request.body)
        self.servers[name] = Server(options, pending="spawn")
        self.hub.serve(_path(name), Jupyter(USER_TOKEN, other_tokens=(OWN_TOKEN,)))
        return _empty(202)

    def _become_ready(self, name: str) -> Answer:
        if self.progress:
            return self.progress
        self.servers[name].pending = None
        ready = event(progress=100, ready=True, message="Server ready")
        return Answer(event(progress=50, message="Pulling the image") + ready)

    def _issue(self, body: Mapping[str, Any]) -> Answer:
        if not self.issues:
            return json_page(400, {"message": "Not assigning requested scopes"})
        if not self._permits("tokens"):
            return _refused("User ann not found or no permissions to generate tokens")
        self.expires_in.append(body["expires_in"])
        if self.longest and body["expires_in"] > self.longest:
            message = f"token expires_in: {body['expires_in']} must not exceed {self.longest}"
            return json_page(400, {"message": message})
        self.issued["a7"] = body["scopes"][0]
        return json_page(201, {"token": OWN_TOKEN, "id": "a7", "scopes": body["scopes"]})


def _path(name: str) -> str:
    return f"ann/{name}" if name else "ann"


def _refused(message: str) -> Answer:
    return json_page(403, {"status": 403, "message": message})


def _empty(status: int) -> Answer:
    return Answer(status=status, content_type="text/plain", framing=Framing.LENGTH)
