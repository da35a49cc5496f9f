"""No consumer waits forever for a cell, and each page shows why a cell did not end."""

from __future__ import annotations

import pytest

from clinder.gateway.cell_log import MAX_LISTED
from clinder.gateway.failures import Cause, Failure
from clinder.gateway.report import CellError, SlowCell
from clinder.wire.kernel_envelope import HEAD_LIMIT, Message, Protocol, read_head
from dialogue import Dialogue

DIED = ["drop", "error KernelDied", "execute_reply error KernelDied", "idle"]
TIMED_OUT = ["drop", "error CellTimedOut", "execute_reply error CellTimedOut", "idle"]
LOST = ["error OutputLost", "execute_reply error OutputLost", "idle"]
BOTH = pytest.mark.parametrize("protocol", Protocol)


@BOTH
def test_a_cell_passes_unchanged(protocol: Protocol) -> None:
    dialogue = Dialogue(protocol)
    cell = dialogue.run_cell()

    assert dialogue.answer == ["forward"]
    assert dialogue.status("busy", cell) == ["forward"]
    assert dialogue.kernel("execute_input", cell, {"code": "1", "execution_count": 1}) == [
        "forward"
    ]
    assert dialogue.prints(cell) == ["forward"]
    assert dialogue.reply(cell) == ["forward"]
    assert dialogue.status("idle", cell) == ["forward"]
    assert dialogue.record.cells == 1
    assert dialogue.record.errors == ()


@BOTH
def test_a_malformed_message_passes_unchanged(protocol: Protocol) -> None:
    dialogue = Dialogue(protocol)

    assert dialogue.kernel("", "", {}, data="{") == ["forward"]
    effects = dialogue.conversation.from_consumer(dialogue.link, Message(b"\x00"), 0)
    assert dialogue.describe(effects) == ["forward"]


@pytest.mark.parametrize("idle_first", [True, False])
def test_a_cell_ends_with_its_reply_and_its_status(idle_first: bool) -> None:
    dialogue = Dialogue()
    cell = dialogue.run_cell()
    if idle_first:
        dialogue.status("idle", cell)
    else:
        dialogue.reply(cell)
    assert dialogue.record.cells == 0

    if idle_first:
        dialogue.reply(cell)
    else:
        dialogue.status("idle", cell)
    assert dialogue.record.cells == 1


@pytest.mark.parametrize(
    ("message_type", "content", "cells"),
    [
        ("execute_request", {"code": "1"}, 1),
        ("execute_request", {"code": ""}, 1),
        ("execute_request", {"code": "1", "user_expressions": {"a": "1"}}, 1),
        ("execute_request", {"code": " ", "user_expressions": {"a": "1"}}, 0),
        ("execute_request", {"code": "1", "silent": True}, 0),
        ("execute_request", {"code": "1", "store_history": False}, 0),
        ("kernel_info_request", {}, 0),
        ("complete_request", {"code": "1"}, 0),
    ],
)
def test_only_code_of_the_notebook_counts_as_a_cell(
    message_type: str, content: dict[str, object], cells: int
) -> None:
    dialogue = Dialogue()
    request = dialogue.request(message_type, content)
    dialogue.raises(request)
    dialogue.ends(request, "error", ename="ValueError", evalue="wrong")

    assert dialogue.record.cells == cells
    is_expression = content.get("code") == " "
    assert dialogue.record.error_count == cells + is_expression


def test_a_long_cell_counts_although_its_code_is_not_read() -> None:
    dialogue = Dialogue()
    cell = dialogue.run_cell("x" * HEAD_LIMIT)
    dialogue.ends(cell)

    assert dialogue.record.cells == 1


def test_code_in_a_subshell_is_no_cell_and_has_no_time_limit() -> None:
    dialogue = Dialogue(cell=60)
    dialogue.request("execute_request", {"code": "1"}, header={"subshell_id": "a"})

    assert dialogue.after(61) == []
    assert dialogue.record.cells == 0


def test_the_slowest_cells_and_the_sum_of_all_are_recorded() -> None:
    dialogue = Dialogue()
    for seconds in (1, 7, 2, 3, 4, 5, 6):
        cell = dialogue.run_cell()
        dialogue.now += seconds
        dialogue.ends(cell)
        dialogue.now += 100  # nothing runs

    record = dialogue.record
    assert record.seconds == 28
    assert record.slowest == tuple(
        SlowCell(cell, seconds) for cell, seconds in ((2, 7), (7, 6), (6, 5), (5, 4), (4, 3))
    )


# Errors


def raising(dialogue: Dialogue) -> str:
    cell = dialogue.run_cell()
    dialogue.raises(cell)
    dialogue.ends(cell, "error", ename="ValueError", evalue="wrong")
    return cell


def test_an_error_is_passed_on_and_recorded() -> None:
    dialogue = Dialogue()
    dialogue.ends(dialogue.run_cell())
    cell = dialogue.run_cell()

    assert dialogue.raises(cell) == ["forward"]
    assert dialogue.ends(cell, "error", ename="ValueError", evalue="wrong") == []
    error = CellError(2, "cell", "ValueError", "wrong")
    assert dialogue.record.errors == (error,)
    assert dialogue.record.ended_by == error
    assert dialogue.record.cells == 2


def test_a_page_that_goes_on_after_an_error_allows_it() -> None:
    dialogue = Dialogue()
    raising(dialogue)
    raising(dialogue)
    dialogue.run_cell()

    assert [each.followed for each in dialogue.record.errors] == [True, True]
    assert dialogue.record.ended_by is None


def test_an_expression_after_an_error_shows_that_it_is_allowed() -> None:
    dialogue = Dialogue()
    raising(dialogue)
    dialogue.run_expression()

    assert dialogue.record.ended_by is None


def test_code_of_a_tool_does_not_show_that_an_error_is_allowed() -> None:
    dialogue = Dialogue()
    raising(dialogue)
    dialogue.ends(dialogue.run_cell(silent=True))

    assert dialogue.record.ended_by is not None


def test_cells_that_the_kernel_aborts_do_not_count() -> None:
    """JupyterLab sends all cells at once; a kernel aborts those after an error."""
    dialogue = Dialogue()
    first, second = dialogue.run_cell(), dialogue.run_cell()
    dialogue.raises(first)
    dialogue.ends(first, "error")
    dialogue.ends(second, "aborted")

    assert dialogue.record.cells == 1
    assert dialogue.record.ended_by == CellError(1, "cell", "ValueError", "wrong")


def test_cells_that_were_queued_and_run_after_an_error_show_that_it_is_allowed() -> None:
    dialogue = Dialogue()
    first, second = dialogue.run_cell(), dialogue.run_cell()
    dialogue.raises(first)
    dialogue.ends(first, "error")
    dialogue.ends(second)

    assert dialogue.record.ended_by is None


def test_an_error_that_only_the_reply_reports_is_recorded() -> None:
    dialogue = Dialogue()
    dialogue.ends(dialogue.run_cell(), "error", ename="SystemExit", evalue="1")

    assert dialogue.record.errors == (CellError(1, "cell", "SystemExit", "1"),)


def test_the_error_of_an_expression_is_recorded_with_the_cell_before_it() -> None:
    dialogue = Dialogue()
    dialogue.ends(dialogue.run_cell())
    result = {"status": "error", "ename": "NameError", "evalue": "x", "traceback": []}
    dialogue.ends(dialogue.run_expression(), user_expressions={"expr": result})

    assert dialogue.record.errors == (CellError(1, "expression", "NameError", "x"),)
    assert dialogue.record.cells == 1


def test_the_text_of_an_error_is_bounded_and_safe_to_print() -> None:
    dialogue = Dialogue()
    cell = dialogue.run_cell()
    dialogue.raises(cell, "\x1b[31m" + "N" * 1000, "first\n\x1b]0;title\x07second" + "x" * 9000)
    dialogue.ends(cell, "error")

    (error,) = dialogue.record.errors
    assert len(error.name) == 200
    assert error.text.startswith("first\nsecondxxx")
    assert len(error.text) == 1000


def test_of_many_errors_the_first_ones_and_the_last_one_are_kept() -> None:
    dialogue = Dialogue()
    for _ in range(MAX_LISTED + 10):
        raising(dialogue)

    record = dialogue.record
    assert record.error_count == MAX_LISTED + 10
    assert [each.cell for each in record.errors] == [*range(1, MAX_LISTED), MAX_LISTED + 10]
    assert [each.followed for each in record.errors] == [True] * (MAX_LISTED - 1) + [False]


def test_output_that_the_server_dropped_is_recorded() -> None:
    dialogue = Dialogue()
    first = dialogue.run_cell()
    dialogue.prints(first, "IOPub data rate exceeded.\nThe Jupyter server …", "stderr")
    dialogue.prints(first, "IOPub data rate exceeded.\nThe Jupyter server …", "stderr")
    dialogue.ends(first)
    second = dialogue.run_cell()
    dialogue.prints(second, "the data rate exceeded all expectations")
    dialogue.ends(second)

    assert dialogue.record.dropped_output == (1,)


# The time limit


def test_a_cell_is_interrupted_at_its_time_limit_and_its_page_shows_why() -> None:
    dialogue = Dialogue(cell=60)
    cell = dialogue.run_cell()
    dialogue.status("busy", cell)

    assert dialogue.after(59) == []
    assert dialogue.after(1) == ["interrupt"]
    assert dialogue.after(1) == []
    assert dialogue.raises(cell, "KeyboardInterrupt", "") == ["drop", "error CellTimedOut"]
    _, content = dialogue.last_made("error")
    assert content["traceback"] == ["line", f"CellTimedOut: {content['evalue']}"]
    assert "It ran for 60 s" in content["evalue"]
    assert "cell-timeout" in content["evalue"]
    assert dialogue.ends(cell, "error") == ["drop", "execute_reply error CellTimedOut"]
    assert dialogue.record.time_limits == (1,)
    assert [each.name for each in dialogue.record.errors] == ["CellTimedOut"]
    assert dialogue.notices == ["clinder interrupts cell 1 of page.ipynb after 60 s."]


def test_the_kernel_can_run_further_cells_after_an_interrupt() -> None:
    dialogue = Dialogue(cell=60)
    cell = dialogue.run_cell()
    dialogue.after(60)
    dialogue.raises(cell, "KeyboardInterrupt", "")
    dialogue.ends(cell, "error")

    assert dialogue.after(1000) == []
    dialogue.ends(dialogue.run_cell())
    assert dialogue.answer == ["forward"]
    assert dialogue.record.cells == 2


def test_a_cell_that_catches_the_interrupt_fails_nevertheless() -> None:
    """Its result is not the one that the author wanted, and MyST would cache it."""
    dialogue = Dialogue(cell=60)
    cell = dialogue.run_cell()
    dialogue.after(60)

    assert dialogue.prints(cell) == ["forward"]
    assert dialogue.reply(cell, "ok") == ["drop", "execute_reply error CellTimedOut"]
    assert dialogue.status("idle", cell) == ["error CellTimedOut", "forward"]


def test_a_cell_that_ignores_the_interrupt_is_given_up_and_the_kernel_restarted() -> None:
    dialogue = Dialogue(cell=60)
    dialogue.run_cell()
    dialogue.after(60)

    assert dialogue.after(14) == []
    assert dialogue.after(1) == [*TIMED_OUT[1:], "restart"]
    assert "ignored an interrupt" in dialogue.last_made("error")[1]["evalue"]
    assert dialogue.conversation.restart_ended(True, dialogue.now, by_consumer=False) == []
    dialogue.run_cell()
    assert dialogue.answer == TIMED_OUT
    assert "earlier one reached the time limit" in dialogue.last_made("error")[1]["evalue"]
    assert dialogue.record.error_count == 1
    assert dialogue.record.time_limits == (1,)
    assert dialogue.record.deaths == 0


def test_a_kernel_that_clinder_cannot_restart_is_reported() -> None:
    dialogue = Dialogue(cell=60)
    dialogue.run_cell()
    dialogue.after(60)
    dialogue.after(15)

    dialogue.describe(dialogue.conversation.restart_ended(False, 0, by_consumer=False))
    assert dialogue.notices[-1] == "The kernel of page.ipynb could not be restarted."


def test_the_time_of_a_queued_cell_begins_when_it_runs() -> None:
    dialogue = Dialogue(cell=60)
    first, second = dialogue.run_cell(), dialogue.run_cell()
    dialogue.now += 50
    dialogue.ends(first)
    dialogue.status("busy", second)

    assert dialogue.after(59) == []
    assert dialogue.after(1) == ["interrupt"]
    assert dialogue.record.time_limits == ()


def test_an_expression_that_reaches_the_time_limit_fails_in_its_own_way() -> None:
    """MyST loses the whole build if the reply itself is an error."""
    dialogue = Dialogue(cell=60)
    expression = dialogue.run_expression()
    assert dialogue.after(60) == ["interrupt"]

    assert dialogue.ends(expression, "error") == [
        "drop",
        "execute_reply ok (error CellTimedOut)",
    ]
    assert dialogue.record.ended_by is not None


def test_code_of_a_tool_has_the_same_time_limit() -> None:
    dialogue = Dialogue(cell=60)
    dialogue.run_cell(silent=True)

    assert dialogue.after(60) == ["interrupt"]
    assert dialogue.notices == ["clinder interrupts a tool's code of page.ipynb after 60 s."]
    assert dialogue.record.time_limits == ()


def test_other_requests_have_no_time_limit() -> None:
    dialogue = Dialogue(cell=60)
    dialogue.request("complete_request", {})

    assert dialogue.after(1000) == []


def test_a_kernel_that_dies_of_the_interrupt_is_explained_by_the_time_limit() -> None:
    dialogue = Dialogue(cell=60)
    dialogue.run_cell()
    dialogue.after(60)

    assert dialogue.restarting() == TIMED_OUT
    assert "Then the kernel died." in dialogue.last_made("error")[1]["evalue"]
    assert dialogue.record.deaths == 1


# Death


@BOTH
def test_a_cell_whose_kernel_dies_ends_with_an_error_first(protocol: Protocol) -> None:
    dialogue = Dialogue(protocol, explain_death="Memory was at 97 % of its limit.")
    cell = dialogue.run_cell()
    dialogue.status("busy", cell)

    assert dialogue.restarting() == DIED
    parent, content = dialogue.last_made("error")
    assert parent == dialogue.header(cell)
    assert "Memory was at 97 % of its limit." in content["evalue"]
    assert "max-kernels" in content["evalue"]
    assert dialogue.record.deaths == 1
    assert dialogue.record.errors == (CellError(1, "cell", "KernelDied", content["evalue"]),)
    assert dialogue.notices == [
        "The kernel died while it ran cell 1 of page.ipynb. Memory was at 97 % of its limit."
    ]


def test_the_message_that_the_kernel_restarts_never_reaches_the_consumer() -> None:
    """JupyterLab would discard all requests, and MyST would lose the whole build."""
    dialogue = Dialogue()

    assert dialogue.restarting() == ["drop"]
    assert dialogue.status("dead") == ["drop"]


def test_made_up_messages_have_the_sender_of_the_kernels_own() -> None:
    """JupyterLab discards the messages that it still has to process when the sender changes."""
    dialogue = Dialogue()
    cell = dialogue.run_cell()
    dialogue.kernel("stream", cell, {"name": "stdout", "text": "x"}, sender="its kernel")
    dialogue.kernel("status", "", {"execution_state": "restarting"}, sender="the server")

    heads = [read_head(message, Protocol.V1) for _, message in dialogue.made]
    assert [head.sender for head in heads if head] == ["its kernel"] * 3


def test_made_up_messages_say_that_the_kernel_is_lost_for_good() -> None:
    dialogue = Dialogue()
    dialogue.run_cell()
    dialogue.restarting()

    for _, message in dialogue.made[:2]:
        assert isinstance(message.data, bytes)
        assert b'{"clinder": {"lost": "kernel-died"}}' in message.data


def test_further_cells_fail_until_the_consumer_restarts_the_kernel() -> None:
    """The kernel that the server starts instead would run them without what came before."""
    dialogue = Dialogue()
    dialogue.run_cell()
    dialogue.restarting()

    cell = dialogue.run_cell()
    assert dialogue.answer == DIED
    assert dialogue.last_made("error")[0] == dialogue.header(cell)
    dialogue.run_expression()
    assert dialogue.answer == ["drop", "execute_reply ok (error KernelDied)", "idle"]
    dialogue.run_cell(silent=True)
    assert dialogue.answer == DIED
    dialogue.request("complete_request", {})
    assert dialogue.answer == ["forward"]
    assert dialogue.record.error_count == 1
    assert dialogue.record.ended_by is not None

    assert dialogue.restart() == ["complete_reply error KernelRestarted", "idle", "reconnect"]
    dialogue.run_cell()
    assert dialogue.answer == ["wait"], "the websocket might use the ports of the kernel before"
    dialogue.reconnect()
    dialogue.ends(dialogue.run_cell())
    assert dialogue.answer == ["forward"]
    assert dialogue.record.cells == 2
    assert dialogue.record.reconnections == 0, "the connection did not break"


def test_a_death_between_two_cells_fails_the_next_one() -> None:
    dialogue = Dialogue()
    dialogue.ends(dialogue.run_cell())
    assert dialogue.restarting() == ["drop"]
    assert dialogue.record.error_count == 0

    dialogue.run_cell()
    assert dialogue.answer == DIED
    dialogue.run_cell()
    text = Failure(Cause.KERNEL_DIED).refusal
    assert dialogue.record.errors == (CellError(2, "cell", "KernelDied", text),)
    assert dialogue.notices == ["The kernel of page.ipynb died."]


def test_a_death_after_the_last_cell_is_no_error() -> None:
    dialogue = Dialogue()
    dialogue.ends(dialogue.run_cell())
    dialogue.restarting()
    dialogue.conversation.end(dialogue.now)

    assert dialogue.record.deaths == 1
    assert dialogue.record.error_count == 0
    assert dialogue.record.unfinished == 0


def test_a_cell_that_has_its_reply_when_the_kernel_dies_only_needs_the_status() -> None:
    """Before the server reports a death it sends everything that the kernel has sent."""
    dialogue = Dialogue()
    dialogue.reply(dialogue.run_cell())

    assert dialogue.restarting() == ["drop", "idle"]
    assert dialogue.record.cells == 1
    assert dialogue.record.error_count == 0
    dialogue.run_cell()
    assert dialogue.answer == DIED
    assert dialogue.record.error_count == 1


def test_cells_in_the_queue_of_a_kernel_that_dies_are_aborted() -> None:
    dialogue = Dialogue()
    dialogue.run_cell()
    dialogue.run_cell()
    dialogue.request("kernel_info_request", {})
    dialogue.request("complete_request", {})

    assert dialogue.restarting() == [
        *DIED,
        "execute_reply aborted",
        "idle",
        "kernel_info_reply ok",
        "idle",
        "complete_reply error KernelDied",
        "idle",
    ]
    assert dialogue.record.cells == 1


def test_an_error_that_the_page_shows_already_is_not_shown_twice() -> None:
    dialogue = Dialogue()
    dialogue.raises(dialogue.run_cell())

    assert dialogue.restarting() == ["drop", "execute_reply error KernelDied", "idle"]


def test_each_consumer_of_a_kernel_that_dies_receives_its_own_error_once() -> None:
    dialogue = Dialogue()
    other = dialogue.connect("other")
    dialogue.run_cell()

    assert dialogue.restarting(other) == DIED
    assert {link for link, _ in dialogue.made} == {dialogue.link}
    assert dialogue.restarting(dialogue.link) == ["drop"]
    assert dialogue.record.deaths == 1


def test_nothing_reaches_a_kernel_that_cannot_be_restarted() -> None:
    dialogue = Dialogue()
    dialogue.restarting()
    dialogue.request("kernel_info_request", {})
    assert dialogue.status("dead") == ["drop", "kernel_info_reply ok", "idle"]
    assert dialogue.conversation.has_no_kernel

    dialogue.request("complete_request", {})
    assert dialogue.answer == ["drop", "complete_reply error KernelDied", "idle"]
    dialogue.restart()
    assert not dialogue.conversation.has_no_kernel


# The end of the session


@pytest.mark.parametrize(
    ("cause", "name"),
    [
        (Cause.SESSION_GONE, "SessionGone"),
        (Cause.KERNEL_GONE, "KernelGone"),
        (Cause.UNREACHABLE, "SessionUnreachable"),
    ],
)
def test_all_requests_are_answered_when_nothing_can_reach_the_kernel(
    cause: Cause, name: str
) -> None:
    dialogue = Dialogue()
    dialogue.run_cell()

    def lose() -> list[str]:
        return dialogue.describe(
            dialogue.conversation.lose(cause, "The hub has no such server.", dialogue.now)
        )

    ended = [f"error {name}", f"execute_reply error {name}", "idle"]
    assert lose() == ended
    assert lose() == []
    assert "The hub has no such server." in dialogue.last_made("error")[1]["evalue"]
    dialogue.run_cell()
    assert dialogue.answer == ["drop", *ended]
    dialogue.request("kernel_info_request", {})
    assert dialogue.answer == ["drop", "kernel_info_reply ok", "idle"]
    dialogue.request("interrupt_request", {}, channel="control")
    assert dialogue.answer == ["drop", f"interrupt_reply error {name}", "idle"]
    dialogue.request("comm_msg", {})
    assert dialogue.answer == ["drop"]
    assert dialogue.restart(ok=False) == []
    assert dialogue.record.error_count == 1


def test_the_kernels_own_description_is_repeated_when_it_is_gone() -> None:
    dialogue = Dialogue()
    info: dict[str, object] = {"language_info": {"name": "R"}, "banner": "R"}
    dialogue.ends(dialogue.request("kernel_info_request", {}), "ok", **info)
    dialogue.conversation.lose(Cause.SESSION_GONE, "", dialogue.now)
    dialogue.request("kernel_info_request", {})

    content = dialogue.last_made("kernel_info_reply")[1]
    assert content.items() >= {"status": "ok", "protocol_version": "5.3", **info}.items()


def test_a_cell_that_has_its_reply_when_the_session_ends_can_have_lost_output() -> None:
    dialogue = Dialogue()
    dialogue.reply(dialogue.run_cell())

    effects = dialogue.conversation.lose(Cause.SESSION_GONE, "", dialogue.now)
    assert dialogue.describe(effects) == [
        "error SessionGone",
        "execute_reply error SessionGone",
        "idle",
    ]


def test_the_end_of_the_session_replaces_the_death_of_the_kernel() -> None:
    dialogue = Dialogue()
    dialogue.run_cell()
    dialogue.restarting()
    dialogue.conversation.lose(Cause.SESSION_GONE, "", dialogue.now)
    dialogue.run_cell()

    assert dialogue.answer[1] == "error SessionGone"
    assert dialogue.record.error_count == 1


def test_cells_that_run_when_the_consumer_deletes_the_kernel_are_unfinished() -> None:
    dialogue = Dialogue()
    dialogue.run_cell()
    dialogue.run_cell(silent=True)
    dialogue.now += 5
    dialogue.conversation.end(dialogue.now)

    assert dialogue.record.unfinished == 1
    assert dialogue.record.cells == 0
    assert dialogue.record.seconds == 5
    assert dialogue.kernel("stream", "", {}) == ["drop"]


# Restarts that a consumer requests


def test_messages_wait_while_a_consumer_restarts_the_kernel() -> None:
    """The kernel would lose them, and the page would wait forever."""
    dialogue = Dialogue()
    dialogue.conversation.restart_began(dialogue.now)

    dialogue.run_cell()
    assert dialogue.answer == ["wait"]
    assert dialogue.restarting() == ["drop"]
    assert dialogue.record.deaths == 0
    assert dialogue.conversation.restart_ended(True, dialogue.now, by_consumer=True) == []
    dialogue.run_cell()
    assert dialogue.answer == ["forward"]


def test_a_cell_that_runs_when_a_consumer_restarts_the_kernel_is_unfinished() -> None:
    dialogue = Dialogue()
    dialogue.run_cell()
    dialogue.run_cell()

    assert dialogue.restart() == [
        "error KernelRestarted",
        "execute_reply error KernelRestarted",
        "idle",
        "execute_reply aborted",
        "idle",
    ]
    assert dialogue.record.unfinished == 1
    assert dialogue.record.error_count == 0


def test_cells_count_from_1_after_a_restart() -> None:
    dialogue = Dialogue()
    dialogue.ends(dialogue.run_cell())
    dialogue.restart()
    raising(dialogue)

    assert dialogue.record.errors[0].cell == 1
    assert dialogue.record.cells == 2


def test_cells_fail_after_a_restart_that_failed() -> None:
    dialogue = Dialogue()
    dialogue.run_cell()

    failed = ["error KernelNotRestarted", "execute_reply error KernelNotRestarted", "idle"]
    assert dialogue.restart(ok=False) == failed
    dialogue.run_cell()
    assert dialogue.answer == ["drop", *failed]
    assert dialogue.restart() == []
    dialogue.run_cell()
    assert dialogue.answer == ["forward"]


def test_a_restart_that_takes_too_long_counts_as_failed() -> None:
    dialogue = Dialogue()
    dialogue.conversation.restart_began(dialogue.now)
    assert dialogue.after(119) == []
    dialogue.after(1)
    dialogue.run_cell()

    assert dialogue.answer[1] == "error KernelNotRestarted"
    assert dialogue.conversation.restart_ended(True, dialogue.now, by_consumer=True) == []


# Connections to the server that break


def test_a_reconnection_while_nothing_runs_needs_nothing() -> None:
    dialogue = Dialogue()
    dialogue.ends(dialogue.run_cell())

    assert dialogue.reconnect() == []
    assert dialogue.record.reconnections == 1
    assert dialogue.record.across_reconnections == ()


def test_messages_wait_until_the_connection_is_back() -> None:
    dialogue = Dialogue()
    dialogue.conversation.server_disconnected(dialogue.link)
    dialogue.run_cell()
    assert dialogue.answer == ["wait"]

    dialogue.conversation.server_reconnected(dialogue.link)
    dialogue.run_cell()
    assert dialogue.answer == ["forward"]


@BOTH
def test_a_cell_that_survives_a_reconnection_is_marked(protocol: Protocol) -> None:
    dialogue = Dialogue(protocol)
    cell = dialogue.run_cell()

    assert dialogue.reconnect() == ["send kernel_info_request"]
    assert dialogue.prints(cell) == ["forward"]
    assert dialogue.ends(cell) == []
    assert dialogue.status("busy", dialogue.sentinel) == ["drop"]
    assert dialogue.answers_sentinel() == ["drop", "drop"]
    assert dialogue.record.cells == 1
    assert dialogue.record.across_reconnections == (1,)
    assert dialogue.record.error_count == 0


def test_a_cell_whose_result_was_lost_fails_at_once() -> None:
    dialogue = Dialogue()
    dialogue.run_cell()
    dialogue.reconnect()

    assert dialogue.answers_sentinel() == ["drop", *LOST, "drop"]
    assert dialogue.record.errors[0].name == "OutputLost"
    dialogue.run_cell()
    assert dialogue.answer == ["forward"]


def test_a_cell_that_is_too_large_for_the_server_fails_with_that_reason() -> None:
    dialogue = Dialogue()
    short = dialogue.run_cell()
    dialogue.run_cell("x" * HEAD_LIMIT)
    assert dialogue.reconnect(too_large=True) == ["send kernel_info_request"]
    assert dialogue.notices == ["The server refused cell 2 of page.ipynb: too large."]
    dialogue.ends(short)
    assert dialogue.answers_sentinel() == [
        *["drop", "error CellTooLarge", "execute_reply error CellTooLarge", "idle", "drop"]
    ]


def test_a_cell_that_the_kernel_never_received_fails() -> None:
    """A server can restart a kernel twice in a row, and the cell comes in between."""
    dialogue = Dialogue()
    dialogue.run_cell()
    assert dialogue.after(9) == []
    assert dialogue.after(1) == ["send kernel_info_request"]
    assert dialogue.after(9) == []
    assert dialogue.after(1) == ["send kernel_info_request"], "the first one can be lost, too"
    assert dialogue.answers_sentinel() == [
        *["drop", "error CellNotReceived", "execute_reply error CellNotReceived", "idle", "drop"]
    ]


def test_a_cell_that_runs_silently_is_not_checked() -> None:
    dialogue = Dialogue()
    dialogue.status("busy", dialogue.run_cell())
    assert dialogue.after(30) == []


def test_a_cell_of_which_only_the_status_was_lost_fails() -> None:
    """The kernel sends it after the output, part of which is probably lost, too."""
    dialogue = Dialogue()
    dialogue.reply(dialogue.run_cell())
    dialogue.reconnect()

    assert dialogue.answers_sentinel() == ["drop", "drop", *LOST]


def test_a_reply_that_arrives_after_the_loss_of_the_status_fails_too() -> None:
    dialogue = Dialogue()
    cell = dialogue.run_cell()
    dialogue.reconnect()

    assert dialogue.status("idle", dialogue.sentinel) == ["drop", "error OutputLost", "idle"]
    assert dialogue.reply(cell) == ["drop", "execute_reply error OutputLost"]
    assert dialogue.record.cells == 1


def test_only_requests_before_the_reconnection_are_judged() -> None:
    dialogue = Dialogue()
    dialogue.ends(dialogue.run_cell())
    first = dialogue.run_cell()
    dialogue.reconnect()
    dialogue.ends(first)
    dialogue.run_cell()

    assert dialogue.answers_sentinel() == ["drop", "drop"]
    assert dialogue.record.across_reconnections == (2,)


def test_only_requests_that_the_kernel_answers_in_order_are_judged() -> None:
    dialogue = Dialogue()
    dialogue.request("debug_request", {}, channel="control")
    dialogue.request("execute_request", {"code": ""}, header={"subshell_id": "a"})

    assert dialogue.reconnect() == []


def test_the_last_sentinel_counts() -> None:
    dialogue = Dialogue()
    dialogue.run_cell()
    dialogue.reconnect()
    first = dialogue.sentinel
    assert dialogue.reconnect() == ["send kernel_info_request"]

    assert dialogue.kernel("kernel_info_reply", first, {}, channel="shell") == ["drop"]
    assert dialogue.answers_sentinel()[1] == "error OutputLost"
    assert dialogue.record.reconnections == 2


def test_another_consumer_does_not_see_the_sentinel() -> None:
    dialogue = Dialogue()
    other = dialogue.connect("other")
    dialogue.run_cell()
    dialogue.reconnect(dialogue.link)

    assert dialogue.status("idle", dialogue.sentinel, other) == ["drop"]
    assert dialogue.record.error_count == 0


def test_other_requests_are_ended_without_an_error_on_the_page() -> None:
    dialogue = Dialogue()
    dialogue.request("kernel_info_request", {})
    dialogue.request("complete_request", {})
    dialogue.reconnect()

    assert dialogue.answers_sentinel() == [
        "drop",
        "kernel_info_reply ok",
        "idle",
        "complete_reply error OutputLost",
        "idle",
        "drop",
    ]


# Long messages, which are passed on piece by piece

LONG = {"name": "stdout", "text": "x" * HEAD_LIMIT}


def test_a_long_message_counts_once_the_consumer_has_all_of_it() -> None:
    dialogue = Dialogue()
    cell = dialogue.run_cell()
    dialogue.status("idle", cell)
    assert dialogue.reply(cell, payload=["x" * HEAD_LIMIT]) == ["forward"]
    assert dialogue.record.cells == 0

    dialogue.conversation.message_ended(dialogue.link, dialogue.now)
    assert dialogue.record.cells == 1


def test_a_cell_whose_long_output_breaks_off_fails_when_it_ends() -> None:
    dialogue = Dialogue()
    cell = dialogue.run_cell()
    assert dialogue.kernel("stream", cell, LONG) == ["forward"]
    assert dialogue.reconnect() == ["send kernel_info_request"]

    assert dialogue.prints(cell) == ["forward"]
    assert dialogue.reply(cell) == ["drop", "execute_reply error OutputLost"]
    assert dialogue.status("idle", cell) == ["error OutputLost", "forward"]
    assert dialogue.answers_sentinel() == ["drop", "drop"]
    assert dialogue.record.error_count == 1


def test_a_long_reply_that_breaks_off_is_lost() -> None:
    dialogue = Dialogue()
    cell = dialogue.run_cell()
    dialogue.status("idle", cell)
    dialogue.reply(cell, payload=["x" * HEAD_LIMIT])
    dialogue.reconnect()

    assert dialogue.answers_sentinel()[1:3] == LOST[:2]


def test_a_long_output_that_belongs_to_no_request_can_break_off() -> None:
    dialogue = Dialogue()
    assert dialogue.kernel("stream", "", LONG) == ["forward"]
    dialogue.conversation.message_ended(dialogue.link, dialogue.now)
    assert dialogue.reconnect() == []


def test_the_rest_of_a_long_reply_that_is_replaced_is_dropped() -> None:
    dialogue = Dialogue(cell=60)
    cell = dialogue.run_cell()
    dialogue.after(60)

    assert dialogue.reply(cell, payload=["x" * HEAD_LIMIT]) == [
        "drop",
        "execute_reply error CellTimedOut",
    ]
    dialogue.status("idle", cell)
    assert dialogue.record.cells == 1


def test_a_request_that_ended_while_its_long_reply_was_passed_on_ends_once() -> None:
    dialogue = Dialogue()
    cell = dialogue.run_cell()
    dialogue.status("idle", cell)
    dialogue.reply(cell, payload=["x" * HEAD_LIMIT])
    dialogue.restarting()

    dialogue.conversation.message_ended(dialogue.link, dialogue.now)
    assert dialogue.record.cells == 1


# Consumers that come and go


def test_a_consumer_supersedes_the_one_with_its_session_id() -> None:
    dialogue = Dialogue()
    old = dialogue.link
    cell = dialogue.run_cell()
    dialogue.link = dialogue.connect("consumer")

    assert dialogue.connected == ["close 1", "send kernel_info_request"]
    dialogue.run_cell(link=old)
    assert dialogue.answer == ["drop"]
    assert dialogue.kernel("stream", cell, {"text": ""}, link=old) == ["drop"]
    assert dialogue.kernel("stream", cell, {"text": ""}, link=dialogue.link) == ["forward"]
    dialogue.conversation.disconnect(old, dialogue.now)
    dialogue.conversation.server_disconnected(old)
    dialogue.conversation.message_ended(old, dialogue.now)
    assert dialogue.conversation.server_reconnected(old) == []
    dialogue.run_cell(link=dialogue.link)
    assert dialogue.answer == ["forward"]


def test_consumers_that_supersede_each_other_have_to_wait_longer_and_longer() -> None:
    dialogue = Dialogue()
    delays = []
    for _ in range(9):
        delays.append(dialogue.conversation.connect_delay("consumer", dialogue.now))
        dialogue.connect("consumer")

    assert delays == [0, 0, 0.4, 0.8, 1.6, 3.2, 5, 5, 5]
    assert dialogue.conversation.connect_delay("another", dialogue.now) == 0
    dialogue.now += 60
    assert dialogue.conversation.connect_delay("consumer", dialogue.now) == 0


def test_a_consumer_that_connects_again_receives_what_was_made_up_for_it() -> None:
    dialogue = Dialogue()
    cell = dialogue.run_cell()
    dialogue.conversation.disconnect(dialogue.link, dialogue.now)
    dialogue.conversation.lose(Cause.SESSION_GONE, "", dialogue.now)
    assert dialogue.made == []

    link = dialogue.connect("consumer", Protocol.JSON)
    assert dialogue.connected == [
        "error SessionGone",
        "execute_reply error SessionGone",
        "idle",
    ]
    assert [each for each, _ in dialogue.made] == [link] * 3
    assert all(isinstance(message.data, str) for _, message in dialogue.made)
    assert dialogue.last_made("error")[0] == dialogue.header(cell)


def test_a_consumer_that_leaves_and_returns_does_not_lose_its_cell() -> None:
    dialogue = Dialogue()
    cell = dialogue.run_cell()
    dialogue.conversation.disconnect(dialogue.link, dialogue.now)
    dialogue.link = dialogue.connect("consumer")

    assert dialogue.connected == ["send kernel_info_request"]
    assert dialogue.kernel("execute_reply", cell, {}, channel="shell", link=dialogue.link) == [
        "forward"
    ]
    assert dialogue.status("idle", cell, dialogue.link) == ["forward"]
    assert dialogue.record.across_reconnections == (1,)


def test_a_cell_whose_consumer_has_left_still_has_its_time_limit() -> None:
    dialogue = Dialogue(cell=60)
    dialogue.run_cell()
    dialogue.conversation.disconnect(dialogue.link, dialogue.now)

    assert dialogue.after(60) == ["interrupt"]
    assert dialogue.after(15) == ["restart"]


def test_a_cell_whose_consumer_has_left_ends_when_another_consumer_sees_its_end() -> None:
    """JupyterLab has another session id after its page was loaded again."""
    dialogue = Dialogue(cell=9)
    first = dialogue.run_cell()
    dialogue.conversation.disconnect(dialogue.link, dialogue.now)
    other = dialogue.connect("other")
    assert dialogue.status("idle", first, other) == ["forward"]
    dialogue.now += 8
    dialogue.run_cell(link=other)

    assert dialogue.after(2) == []
    assert dialogue.restarting(other) == DIED
    dialogue.connect("consumer")
    assert dialogue.connected == LOST
    assert dialogue.record.unfinished == 1


def test_the_cell_of_a_consumer_that_reads_slowly_does_not_run_any_more() -> None:
    dialogue = Dialogue(cell=9)
    other = dialogue.connect("other")
    first = dialogue.run_cell()
    second = dialogue.run_cell(link=other)
    dialogue.now += 5
    assert dialogue.status("idle", first, other) == ["forward"]
    dialogue.status("busy", second)
    dialogue.status("busy", first)

    assert dialogue.after(8) == []
    assert dialogue.restarting(other) == [*DIED, *LOST]
    assert dialogue.record.seconds == 5 + 8


def test_the_cell_that_the_kernel_has_begun_is_the_one_that_runs() -> None:
    """The server can receive the cells of two consumers in another order than the gateway."""
    dialogue = Dialogue(cell=9)
    other = dialogue.connect("other")
    waiting = dialogue.run_cell()
    dialogue.now += 5
    dialogue.status("busy", dialogue.run_cell(link=other))

    assert dialogue.after(8) == []
    assert dialogue.after(1) == ["interrupt"]
    assert dialogue.restarting(other) == [*TIMED_OUT, "execute_reply aborted", "idle"]
    assert dialogue.last_made("execute_reply")[0] == dialogue.header(waiting)


def test_a_consumer_without_a_session_id_cannot_come_back() -> None:
    dialogue = Dialogue()
    first = dialogue.connect("")
    second = dialogue.connect("")
    assert dialogue.connected == []
    dialogue.run_cell(link=first)
    dialogue.run_cell(link=second)
    dialogue.conversation.disconnect(first, dialogue.now)

    assert dialogue.record.unfinished == 1
    assert dialogue.after(60) == ["interrupt"]


# Limits


def test_requests_beyond_the_limit_pass_unchanged() -> None:
    dialogue = Dialogue()
    for _ in range(1001):
        dialogue.run_cell()

    assert dialogue.answer == ["forward"]
    assert len(dialogue.restarting()) == len(DIED) + 999 * 2


def test_only_the_last_consumers_are_remembered() -> None:
    dialogue = Dialogue()
    dialogue.run_cell()
    for number in range(100):
        link = dialogue.connect(f"consumer {number}")
        dialogue.conversation.disconnect(link, dialogue.now)
    dialogue.conversation.disconnect(dialogue.link, dialogue.now)

    dialogue.connect("consumer")
    assert dialogue.connected == ["send kernel_info_request"]


@pytest.mark.parametrize("cause", Cause, ids=lambda cause: cause.value)
def test_the_text_of_a_failure_says_what_happened_and_what_to_do(cause: Cause) -> None:
    failure = Failure(cause, "What is known.")

    for text in (failure.text, failure.refusal):
        assert "What is known." in text
        sentences = text.split(". ")
        assert len(sentences) >= 3
        assert text.endswith(".")
    assert "cell was not run" in failure.refusal
    assert failure.name.isidentifier()
