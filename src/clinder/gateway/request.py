"""One request of a consumer to a kernel, and the messages that can be made up in response to it.

@jupyterlab/services, which MyST uses, considers a request done once it has a reply and the status
``idle``. jupyter_client waits for the same two.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any

from clinder.gateway.failures import Cause, Failure
from clinder.wire.json_fields import get_object, get_text
from clinder.wire.kernel_envelope import Head

_EXPRESSIONS = 100
_REQUEST = "_request"
_REPLY = "_reply"
_REPLYING = ("shell", "control")
IOPUB = "iopub"


class Kind(Enum):
    """What a request is for."""

    CELL = "cell"
    EXPRESSION = "expression"
    """Expressions without code: MyST evaluates its inline expressions in this way."""
    INTERNAL = "internal"
    """Code of a tool, which is silent or leaves no history: it is not part of the notebook."""
    OTHER = "other"
    """A request that executes no code, such as one for completions."""


@dataclass(frozen=True)
class Draft:
    """A made-up message: all of it but its parent and the way it is written."""

    channel: str
    message_type: str
    content: Mapping[str, object]
    metadata: Mapping[str, object] = field(default_factory=dict)


@dataclass
class Request:
    """A request that has no reply or no ``idle`` yet. ``started`` is a time."""

    session_id: str
    head: Head
    kind: Kind
    expressions: tuple[str, ...] = ()
    number: int = 0
    """The number of its cell, from 1; that of the last cell before it if it is none."""
    started: float | None = None
    replied: bool = False
    status: str = ""
    idle: bool = False
    error: tuple[str, str] | None = None
    """The name and the text of the error that it raised."""
    shows_error: bool = False
    failure: Failure | None = None
    interrupted: float | None = None
    ended: float | None = None
    """When the kernel had run it, if other consumers knew that before its own."""
    is_long: bool = False
    """Whether it is too long to be read as a whole."""
    loss: Cause = Cause.OUTPUT_LOST
    """Why its result is lost, if it is."""
    is_seen: bool = False
    """Whether the kernel has sent anything for it."""
    check_after: float = 10.0
    """If nothing arrives for this many seconds, clinder checks whether the kernel received it."""
    crossed: bool = False
    """Whether it ran while the connection to the server broke."""
    dropped: bool = False
    """Whether the server dropped part of its output because of its rate limits."""

    def fail(self, failure: Failure) -> None:
        """Note what ended the request; whatever its own result is, this replaces it."""
        self.failure = failure
        self.error = (failure.name, failure.text)

    def survives(self, failure: Failure) -> bool:
        """Whether its consumer has its result, and the failure loses none of its output."""
        complete = failure.cause in (Cause.KERNEL_DIED, Cause.TIME_LIMIT, Cause.RESTARTED)
        return self.replied and self.failure is None and complete

    def merge(self, failure: Failure) -> Failure:
        """Return why it ends if it had been interrupted, and the kernel died of that."""
        if self.failure is None or failure.cause is not Cause.KERNEL_DIED:
            return failure
        return replace(self.failure, detail=f"{self.failure.detail} Then the kernel died.")

    @property
    def executes(self) -> bool:
        """Whether the request executes code, so that it can take long."""
        return self.kind is not Kind.OTHER

    @property
    def key(self) -> tuple[str, str]:
        """The consumer's session id, and the request's own id."""
        return self.session_id, self.head.message_id

    @property
    def counts(self) -> bool:
        """Whether the request belongs to the notebook."""
        return self.kind in (Kind.CELL, Kind.EXPRESSION)

    @property
    def is_queued_on_shell(self) -> bool:
        """Whether the kernel answers it before any later request, as its main thread does."""
        return self.head.channel == "shell" and not self.head.header.get("subshell_id")


def is_request(head: Head) -> bool:
    """Whether a kernel responds to a message with a reply and the status ``idle``."""
    return head.channel in _REPLYING and head.message_type.endswith(_REQUEST)


def is_reply(head: Head) -> bool:
    """Whether a message is the reply to a request."""
    return head.channel in _REPLYING and head.message_type.endswith(_REPLY)


def classify(head: Head, content: Mapping[str, Any] | None) -> tuple[Kind, tuple[str, ...]]:
    """Return what a request is for, and the names of its expressions.

    ``content`` is ``None`` if it is too long to be read, which only a cell's code is. Code in a
    subshell runs beside the notebook's cells.
    """
    if head.message_type != "execute_request" or head.header.get("subshell_id"):
        return Kind.OTHER, ()
    content = content or {"code": "…"}
    if content.get("silent") is True or content.get("store_history") is False:
        return Kind.INTERNAL, ()
    names = tuple(list(get_object(content, "user_expressions"))[:_EXPRESSIONS])
    is_expression = bool(names) and not get_text(content, "code").strip()
    return Kind.EXPRESSION if is_expression else Kind.CELL, names


def draft_endings(
    request: Request, failure: Failure, text: str, info: Mapping[str, Any]
) -> list[Draft]:
    """Return what ends a request: all that its consumer waits for, with the text as an error.

    ``info`` is the content of the kernel's own reply to a ``kernel_info_request``, if known.
    """
    drafts: list[Draft] = []
    if request.executes:
        drafts = [*draft_error(request, failure, text), draft_reply(request, failure, text)]
    elif not request.replied:
        is_info = request.head.message_type == "kernel_info_request"
        drafts = [_draft_info(request, info) if is_info else draft_reply(request, failure, text)]
    return drafts if request.idle else [*drafts, draft_idle()]


def draft_aborted(request: Request) -> list[Draft]:
    """Return what a kernel sends for code in its queue if code before it has failed."""
    content: dict[str, object] = {"status": "aborted", "execution_count": 0}
    return [Draft(request.head.channel, _reply_type(request.head), content), draft_idle()]


def draft_error(
    request: Request, failure: Failure, text: str, traceback: Sequence[str] = ()
) -> list[Draft]:
    """Return the output that shows an error on the page, unless the page shows one."""
    if request.shows_error or request.kind is Kind.EXPRESSION or not request.executes:
        return []
    content = {"ename": failure.name, "evalue": text}
    lines = [*traceback, f"{failure.name}: {text}"]
    return [Draft(IOPUB, "error", {**content, "traceback": lines}, _metadata(failure))]


def draft_reply(request: Request, failure: Failure, text: str) -> Draft:
    """Return a reply that fails the request.

    MyST ends the page of a cell with such a reply. It does not expect one for expressions without
    code, and would lose the whole build: there, each expression fails instead.
    """
    traceback = [f"{failure.name}: {text}"]
    error = {"status": "error", "ename": failure.name, "evalue": text, "traceback": traceback}
    content: dict[str, object] = {**error}
    if request.kind is Kind.EXPRESSION:
        expressions = dict.fromkeys(request.expressions, error)
        content = {"status": "ok", "payload": [], "user_expressions": expressions}
    if request.executes:
        content["execution_count"] = 0
    return Draft(request.head.channel, _reply_type(request.head), content, _metadata(failure))


def draft_idle() -> Draft:
    """Return the status that ends a request's output."""
    return Draft(IOPUB, "status", {"execution_state": "idle"})


def _draft_info(request: Request, info: Mapping[str, Any]) -> Draft:
    """Return a reply that describes the kernel.

    A consumer requests it when it connects. If that failed, MyST would lose the whole build; so
    only the cells fail.
    """
    content = {
        "status": "ok",
        "protocol_version": "5.3",
        "implementation": "",
        "implementation_version": "",
        "banner": "",
        "help_links": [],
        "language_info": {"name": "", "version": "", "mimetype": "", "file_extension": ""},
        **info,
    }
    return Draft(request.head.channel, _reply_type(request.head), content)


def _metadata(failure: Failure) -> Mapping[str, object]:
    """Return a mark that the kernel is lost: the bridge ends with it, as a local kernel would."""
    return {"clinder": {"lost": failure.cause.value}} if failure.cause.is_final else {}


def _reply_type(head: Head) -> str:
    return head.message_type.removesuffix(_REQUEST) + _REPLY
