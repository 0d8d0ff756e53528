"""The only place for the tests of control messages: their size, their pace, what an answer is about."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from connectors.binance_futures.control import MESSAGE_SPACING_MS, Control, Method


def test_control_messages_hold_a_hundred_names() -> None:
    """Every stream once, ids rise, each message has its turn."""
    streams = [f"s{number}usdt@aggTrade" for number in range(230)]
    control = Control()
    control.ask(Method.SUBSCRIBE, streams)
    control.ask(Method.UNSUBSCRIBE, streams[:1])
    messages = [json.loads(control.due(number * MESSAGE_SPACING_MS) or "") for number in range(4)]

    assert [1, 2, 3, 4] == [message["id"] for message in messages]
    assert [*streams, streams[0]] == [name for message in messages for name in message["params"]]
    assert [100, 100, 30, 1] == [len(message["params"]) for message in messages]
    assert ["SUBSCRIBE"] * 3 + ["UNSUBSCRIBE"] == [message["method"] for message in messages]
    assert control.due(10**9) is None


@given(st.lists(st.tuples(st.integers(0, 400), st.integers(0, 250)), max_size=30))
def test_no_more_than_five_messages_go_out_in_any_second(asked: list[tuple[int, int]]) -> None:
    """Whatever is asked and whenever: venue sheet 1.5 counts every message."""
    control, now_ms, sent = Control(), 0, []
    for wait_ms, names in asked:
        control.ask(Method.SUBSCRIBE, [f"s{number}@aggTrade" for number in range(names)])
        for _ in range(0, wait_ms, 20):
            now_ms += 20
            if control.due(now_ms) is not None:
                sent.append(now_ms)

    assert all(len([at for at in sent if first <= at < first + 1_000]) <= 5 for first in sent)


def test_an_answer_names_what_was_asked() -> None:
    """A refusal is told with the streams it is about; an unknown id with none."""
    control = Control()
    assert control.settled
    control.ask(Method.SUBSCRIBE, [f"s{number}@aggTrade" for number in range(7)])
    control.due(0)
    assert not control.settled

    assert "s0@aggTrade, s1@aggTrade, s2@aggTrade, s3@aggTrade, s4@aggTrade and 2 more" == control.answered(1)
    assert ["", "", ""] == [control.answered(number) for number in (1, "x", None)]
    assert control.settled
