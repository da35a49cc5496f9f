"""A launch under a user's account, on a hub that requires a login: which server is its own.

The user can have other servers, and launch others at the same time. Without named servers, a hub
gives two simultaneous launches the same server. clinder therefore only hands out and stops a server
whose ``user_options`` at JupyterHub show that it belongs to this launch.
"""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass, field, replace
from urllib.parse import quote

from clinder._deadline import Deadline
from clinder._urls import is_cleartext
from clinder.errors import (
    AccountInUse,
    ClinderError,
    HubTokenRefused,
    HubUnreachable,
    LaunchFailed,
    LoginRequired,
    ServerNotReady,
    ServerUnusable,
    TimedOut,
    TokenNotIssued,
)
from clinder.session import Account, Session
from clinder.timeouts import Timeouts
from clinder.wire.binderhub import Ready
from clinder.wire.http import Transport
from clinder.wire.jupyterhub import (
    ACCESS,
    ACCESS_SERVICE,
    DELETE,
    READ,
    SERVERS,
    TOKENS,
    HubServer,
    Identity,
    JupyterHub,
    find_jupyterhub,
)

TOKEN_SECONDS = 7 * 86400
"""How long a session's own token is valid, unless the hub's limit is lower. Stopping revokes it."""
_PROBE = 5.0
"""Seconds for finding the JupyterHub, and for each request to it."""
_DELAYS = (0.2, 0.3, 0.5, 1.0)
"""Seconds between two requests to JupyterHub; the last one repeats."""


@dataclass
class AccountLaunch:
    """The account of one build request.

    ``hub`` is the BinderHub, ``token`` the user's. ``hands_out``: the session needs a token of its
    own. ``profile``: clinder starts the server itself. ``jupyterhub`` is the URL of the
    JupyterHub's pages, empty as long as it is unknown; ``identity`` is what it shows at first.
    """

    hub: str
    token: str = field(repr=False)
    timeouts: Timeouts
    hands_out: bool = True
    profile: str = ""
    jupyterhub: str = ""
    _service: str = ""
    identity: Identity | None = None
    _after: Identity | None = None

    def begin(self, deadline: Deadline, *, only_builds: bool = False) -> None:
        """Check, before anything is built, that the token permits everything that is needed.

        ``only_builds``: no server is to be launched. If the hub does not show where its JupyterHub
        is, this does nothing. Raises :class:`~clinder.errors.HubTokenRefused`,
        :class:`~clinder.errors.TokenNotIssued` and what the deadline raises.
        """
        try:
            self.jupyterhub, self._service = find_jupyterhub(
                Transport(self.timeouts), self.hub, deadline.capped(_PROBE)
            )
            if self.jupyterhub:
                self.identity = self.api().identity(deadline.capped(_PROBE))
        except (HubUnreachable, TimedOut):
            deadline.raise_if_expired()
        except HubTokenRefused as error:
            raise self._with_advice(error) from None
        if self.identity and not only_builds:
            self._require_scopes(self.identity)

    def adopt(self, ready: Ready, deadline: Deadline) -> Account:
        """Return the account of a server that belongs to this launch.

        Raises :class:`~clinder.errors.AccountInUse` if the server belongs to another launch,
        :class:`~clinder.errors.LaunchFailed` if it does not run,
        :class:`~clinder.errors.ServerUnusable` if others could read the token on its way,
        :class:`~clinder.errors.HubTokenRefused` if the token does not permit to check this, and
        :class:`~clinder.errors.ServerNotReady` if JupyterHub does not respond.
        """
        server = HubServer.of(ready.url)
        if server is None:
            raise ServerNotReady("The hub reported a server that does not belong to a JupyterHub.")
        if is_cleartext(ready.url):
            raise ServerUnusable(
                "The hub reported a server that uses plain HTTP, so others on the network could"
                " read the hub token."
            )
        self.jupyterhub = server.hub
        try:
            identity = self._wait_for_identity(deadline)
        except HubTokenRefused as error:
            raise self._with_advice(error, self._leftover(ready)) from None
        except ServerNotReady as error:
            error.message += f" {self._leftover(ready)}"
            raise
        if identity.servers is None:
            self._require_scopes(identity, self._leftover(ready))
        self._after = identity
        running = (identity.servers or {}).get(server.key)
        if running is None or not running.active:
            raise LaunchFailed("The hub reported a server that is not running.")
        if running.launch_id != ready.token:
            raise AccountInUse(
                "The hub gave this launch the server of another launch under the account"
                f" {identity.user}."
            )
        return self.own(ready.token)

    def own(self, launch_id: str) -> Account:
        """Return the account of a server of this launch."""
        identity = self._after or self.identity
        return Account(identity.user if identity else "", launch_id, token=self.token)

    def issue_token(self, session: Session, deadline: Deadline) -> Session:
        """Return the session with a token of its own, if the hub issues one.

        Raises :class:`~clinder.errors.HubTokenRefused` if the user's token lacks a scope, and, if
        the session needs a token but gets none, :class:`~clinder.errors.TokenNotIssued` or
        :class:`~clinder.errors.ServerNotReady`.
        """
        if self._after:
            self._require_scopes(self._after)
        error: ClinderError = self._not_issued()
        server, account = HubServer.of(session.url), session.account
        if server and account:
            note = f"clinder: {session.spec}"
            try:
                if issued := self.api().issue_token(server, TOKEN_SECONDS, note, deadline):
                    account = replace(account, token_id=issued.token_id)
                    return replace(session, token=issued.token, account=account)
            except HubTokenRefused:
                pass
            except (HubUnreachable, TimedOut) as reason:
                error = ServerNotReady(f"The hub issued no token for the session. {reason}")
        if self.hands_out:
            raise error
        return session

    def cancel(self, specs: Collection[str], deadline: Deadline, *, pending: bool) -> bool:
        """Stop the server that the hub starts for this launch, and remove failed named ones.

        ``specs`` are those that the hub might have launched. ``pending``: the hub might only be
        about to start the server, so wait for it. Returns whether the server is stopped. A server
        is this launch's if it was not there before, and is of one of the specs. If there are
        several, none is stopped, because the others are those of other launches.
        """
        if self.identity is None:
            return False
        before, stopped = self.identity.servers or {}, False
        delays = iter(_DELAYS)
        try:
            while True:
                servers = (self.api().identity(deadline).servers or {}).values()
                new = [
                    each
                    for each in servers
                    if each.request in specs and not _is_active(self.identity, each.name)
                ]
                active = [each.name for each in new if each.active]
                failed = [each.name for each in new if each.name not in (*active, *before, "")]
                if not active and (stopped or not pending):
                    for name in failed:
                        self.api().stop_server(self._server(name), deadline)
                    return True
                if len(active) == 1 and not stopped:
                    self.api().stop_server(self._server(active[0]), deadline)
                    stopped = True
                elif active and not stopped:
                    return False
                deadline.wait(next(delays, _DELAYS[-1]))
        except (HubTokenRefused, HubUnreachable, TimedOut):
            return stopped

    def remove_failed(self, specs: Collection[str], deadline: Deadline) -> None:
        """Remove the named servers that the hub failed to start before it started this launch's.

        They would count against the hub's limit. ``specs`` are those that the hub might have
        launched.
        """
        if self.identity is None or self._after is None:
            return
        before = self.identity.servers or {}
        for each in (self._after.servers or {}).values():
            is_failed = each.name and not each.active and each.name not in before
            if is_failed and each.request in specs:
                with suppress(HubTokenRefused, HubUnreachable, TimedOut):
                    self.api().stop_server(self._server(each.name), deadline)

    def explain(self, error: LoginRequired | HubTokenRefused) -> HubTokenRefused:
        """Return the error for a hub that requires a login although it has received the token."""
        message = error.message.replace(
            "The hub requires a login", "The hub does not accept the hub token"
        )
        return self._with_advice(HubTokenRefused(message))

    @property
    def can_cancel(self) -> bool:
        """Whether a pending launch can be cancelled at the JupyterHub."""
        return self.identity is not None

    @property
    def home(self) -> str:
        """The page on which the user can stop servers; empty if it is unknown."""
        return self.jupyterhub and f"{self.jupyterhub}home"

    def api(self) -> JupyterHub:
        """Return the API with a transport of its own, because cookies could replace the token."""
        return JupyterHub(self.jupyterhub, self.token, Transport(self.timeouts))

    def _server(self, name: str) -> HubServer:
        user = self.identity.user if self.identity else ""
        return HubServer(self.jupyterhub, quote(user, safe=""), quote(name, safe=""))

    def _wait_for_identity(self, deadline: Deadline) -> Identity:
        problem = "it did not respond in time"
        for delay in (*_DELAYS, None):
            try:
                return self.api().identity(deadline)
            except HubUnreachable as error:
                problem = error.message
                if delay is None:
                    break
            except TimedOut:
                break
            with suppress(TimedOut):
                deadline.wait(delay)
        raise ServerNotReady(
            f"clinder cannot check whether the server belongs to this launch. {problem}"
        )

    def _require_scopes(self, identity: Identity, leftover: str = "") -> None:
        needed = needed_scopes(self._service, starts=bool(self.profile))
        missing = [each for each in needed if not identity.permits(each.partition("!")[0])]
        if missing:
            error = HubTokenRefused(f"The hub token lacks a scope: {', '.join(missing)}.")
            raise self._with_advice(error, leftover)
        if self.hands_out and not identity.permits(TOKENS):
            raise self._not_issued()

    def _with_advice(self, error: HubTokenRefused, leftover: str = "") -> HubTokenRefused:
        """Add to an error where to create a token, and with which scopes."""
        hint = how_to_get_a_token(
            self.jupyterhub,
            self._service,
            starts=bool(self.profile),
            hands_out=self.hands_out,
        )
        return HubTokenRefused(f"{error.message} {leftover}".strip(), hint=hint)

    def _not_issued(self) -> TokenNotIssued:
        return TokenNotIssued(
            "The hub issues no token that opens only this session, and the hub token itself opens"
            " the whole account."
        )

    def _leftover(self, ready: Ready) -> str:
        return f"A server runs at {ready.url}: stop it on {self.home}."


def needed_scopes(service: str, *, starts: bool = False) -> tuple[str, ...]:
    """Return the scopes that a hub token needs.

    ``service`` is the BinderHub's name, or empty. ``starts``: clinder starts servers itself.
    """
    own = (f"{scope}!user" for scope in ((ACCESS, SERVERS) if starts else (ACCESS, DELETE, READ)))
    return (f"{ACCESS_SERVICE}!service={service or 'binder'}", *own)


def how_to_get_a_token(
    jupyterhub: str, service: str = "", *, starts: bool = False, hands_out: bool = False
) -> str:
    """Return a hint that says where to create a hub token, and with which scopes.

    ``hands_out``: a session needs a token of its own.
    """
    where = f"at {jupyterhub}token" if jupyterhub else "on the JupyterHub's page /hub/token"
    own = [f"{TOKENS}!user"] if hands_out else []
    scopes = ", ".join([*needed_scopes(service, starts=starts), *own])
    return (
        f"Create a token {where} with the scopes {scopes}, and pass it with `--hub-token @FILE`, or"
        f" in CLINDER_HUB_TOKEN.{' `clinder run` does not need tokens!user.' if own else ''}"
    )


def _is_active(identity: Identity, name: str) -> bool:
    server = (identity.servers or {}).get(name)
    return server is not None and server.active
