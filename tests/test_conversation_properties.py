"""Whatever happens in whatever order, each consumer gets a result for each of its requests."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from hypothesis import given, settings
from hypothesis import strategies as st

from clinder.gateway.cell_log import MAX_LISTED
from clinder.gateway.failures import Cause
from clinder.wire.kernel_envelope import Protocol, read_head
from dialogue import Dialogue

T = TypeVar("T")
NAMES = ("one", "two")
REQUESTS: tuple[tuple[str, dict[str, object]], ...] = (
    ("execute_request", {"code": "1"}),
    ("execute_request", {"code": "", "user_expressions": {"a": "1"}}),
    ("execute_request", {"code": "1", "silent": True}),
    ("kernel_info_request", {}),
    ("complete_request", {}),
)


class Consumers:
    """Two consumers of a kernel, and everything that can happen to them."""

    def __init__(self) -> None:
        self.dialogue = Dialogue(cell=60)
        self.links = {name: self.dialogue.connect(name) for name in NAMES}
        self.away: set[str] = set()
        self.owner: dict[str, str] = {}
        self.has_reply: set[str] = set()
        self.is_idle: set[str] = set()
        self.restarts = 0
        self.events: list[Callable[[Choices], None]] = [
            *[self.send] * 6,
            *[self.kernel_sends] * 8,
            self.kernel_dies,
            self.server_reconnects,
            *[self.sentinel_is_answered] * 2,
            self.consumer_leaves,
            self.consumer_connects,
            self.restart,
            self.time_passes,
            self.kernel_is_lost,
        ]

    @property
    def waiting(self) -> list[str]:
        """The requests without a result."""
        return [each for each in self.owner if each not in self.has_reply & self.is_idle]

    def send(self, choices: Choices) -> None:
        name, request = choices.one_of(NAMES), choices.one_of(REQUESTS)
        before = self.dialogue.record
        request_id = self.dialogue.request(*request, link=self.links[name])
        assert len({"forward", "drop", "wait"} & set(self.dialogue.answer)) == 1
        if self.dialogue.answer == ["wait"] or name in self.away:
            assert self.dialogue.record == before
        else:
            self.owner[request_id] = name

    def kernel_sends(self, choices: Choices) -> None:
        here = [each for each in self.waiting if self.owner[each] not in self.away]
        what = choices.one_of(("reply", "reply", "aborted", "idle", "idle", "error", "output"))
        if not here:
            return
        request = choices.one_of(here)
        link = self.links[self.owner[request]]
        if what in ("reply", "aborted"):
            effects = self.dialogue.reply(request, what.replace("reply", "ok"), link=link)
        elif what == "idle":
            effects = self.dialogue.status("idle", request, link)
        else:
            content = {"name": "stdout", "text": "", "ename": "E", "evalue": ""}
            kind = "error" if what == "error" else "stream"
            effects = self.dialogue.kernel(kind, request, content, link=link)
        assert effects.count("forward") + effects.count("drop") == 1
        if "forward" in effects and what in ("reply", "aborted"):
            self.has_reply.add(request)
        if "forward" in effects and what == "idle":
            self.is_idle.add(request)

    def kernel_dies(self, choices: Choices) -> None:
        state = choices.one_of(("restarting", "restarting", "dead"))
        effects = self.dialogue.status(state, link=self.links[choices.one_of(NAMES)])
        assert "forward" not in effects

    def server_reconnects(self, choices: Choices) -> None:
        self.dialogue.reconnect(self.links[choices.one_of(NAMES)])

    def sentinel_is_answered(self, choices: Choices) -> None:
        sentinel, link = self.dialogue.sentinel, self.links[choices.one_of(NAMES)]
        if sentinel and choices.one_of((True, False)):
            self.dialogue.kernel("kernel_info_reply", sentinel, {}, channel="shell", link=link)
        elif sentinel:
            self.dialogue.status("idle", sentinel, link)

    def consumer_leaves(self, choices: Choices) -> None:
        name = choices.one_of(NAMES)
        self.dialogue.conversation.disconnect(self.links[name], self.dialogue.now)
        self.away |= {name}

    def consumer_connects(self, choices: Choices) -> None:
        name = choices.one_of(NAMES)
        self.links[name] = self.dialogue.connect(name)
        self.away -= {name}

    def restart(self, choices: Choices) -> None:
        self.restarts += 1
        if choices.one_of((True, False)):
            self.dialogue.conversation.restart_began(self.dialogue.now)
        if choices.one_of((True, True, False)):
            ok, by_consumer = choices.one_of((True, False)), choices.one_of((True, False))
            effects = self.dialogue.conversation.restart_ended(
                ok, self.dialogue.now, by_consumer=by_consumer
            )
            self.dialogue.describe(effects)

    def time_passes(self, choices: Choices) -> None:
        effects = self.dialogue.after(choices.one_of((1, 15, 60, 200)))
        assert effects.count("interrupt") + effects.count("restart") <= 1

    def kernel_is_lost(self, choices: Choices) -> None:
        causes = (Cause.SESSION_GONE, Cause.KERNEL_GONE, Cause.UNREACHABLE)
        effects = self.dialogue.conversation.lose(choices.one_of(causes), "", self.dialogue.now)
        self.dialogue.describe(effects)

    def receive(self) -> None:
        """Note which made-up messages the consumers received."""
        for link, message in self.dialogue.made:
            head = read_head(message, Protocol.V1)
            assert head is not None
            assert self.owner[head.parent_id] == link.session_id
            if head.message_type.endswith("_reply"):
                self.has_reply.add(head.parent_id)
            elif head.message_type == "status":
                self.is_idle.add(head.parent_id)
        self.dialogue.made.clear()


class Choices:
    """Numbers that choose what happens."""

    def __init__(self, numbers: list[int]):
        self._numbers = numbers
        self._next = 0

    @property
    def are_left(self) -> bool:
        return self._next < len(self._numbers)

    def one_of(self, options: tuple[T, ...] | list[T]) -> T:
        number = self._numbers[self._next] if self.are_left else 0
        self._next += 1
        return options[number % len(options)]


@settings(deadline=None)
@given(st.lists(st.integers(0, 255), min_size=100, max_size=150))
def test_in_the_end_no_consumer_waits(numbers: list[int]) -> None:
    choices = Choices(numbers)
    consumers = Consumers()
    while choices.are_left:
        choices.one_of(consumers.events)(choices)
        consumers.receive()
        errors = consumers.dialogue.record.errors
        assert len(errors) <= MAX_LISTED
        last = 2 * (1 + consumers.restarts)  # a restart begins the notebook again
        assert all(each.followed for each in errors[:-last])

    for name in NAMES:
        consumers.links[name] = consumers.dialogue.connect(name)
    consumers.kernel_is_lost(choices)
    consumers.receive()
    assert consumers.waiting == []
