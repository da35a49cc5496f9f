"""A kernel that a consumer has started through the gateway."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import quote

from clinder.gateway.channels import Channels
from clinder.gateway.conversation import Conversation
from clinder.gateway.report import Kernel
from clinder.gateway.slots import Slot
from clinder.wire.json_fields import get_object


@dataclass
class HeldKernel:
    """A kernel and what a consumer knows about it.

    ``model`` is the server's description of it or, if it has a ``session``, of that. ``record`` is
    for the report. ``is_on_server`` is false for a kernel that did not start.
    """

    kernel_id: str
    model: Mapping[str, Any]
    record: Kernel
    channels: Channels
    conversation: Conversation
    slot: Slot | None = None
    session_id: str = ""
    is_on_server: bool = True
    started: float = field(default_factory=time.monotonic)
    is_deleted: bool = False
    is_leased: bool = False
    expires: float | None = None
    """When the kernel of a bridge is deleted because no bridge is connected to it."""

    @property
    def path(self) -> str:
        """Its path in the server's API."""
        return f"api/kernels/{quote(self.kernel_id, safe='')}"

    def describe(self, key: str) -> Mapping[str, Any]:
        """Return its model if the key is ``kernels``, otherwise that of its session."""
        if key == "kernels" and self.session_id:
            return get_object(self.model, "kernel")
        return self.model

    def report(self) -> Kernel:
        """Return what ran on it, together with how it was started."""
        given = self.record
        return replace(
            self.conversation.record(),
            requested=given.requested,
            kernelspec=given.kernelspec,
            waited=given.waited,
            ready_after=given.ready_after,
            problem=given.problem,
        )

    def take_slot(self) -> Slot | None:
        """Return its slot for a kernel that replaces it."""
        slot, self.slot = self.slot, None
        return slot

    def release(self) -> None:
        """Let another kernel start."""
        if self.slot is not None:
            self.slot.release()
