"""The only place for the tests of what the connector learns from topics: what is held, shortlisted, ordered."""

from __future__ import annotations

import time
from types import SimpleNamespace

import msgspec

from connectors.binance_futures.following import Following
from connectors.binance_futures.subscriptions import Subscriptions, Tier
from connectors.binance_futures.user_stream import Watchdog
from pipeline.core.commands import ReportPosition, ReportTrade
from pipeline.core.events import Leg, RequestEnded, Side, Verdict
from pipeline.core.units import E8, Lots, Milliseconds, Ticks
from pipeline.wire import records


def follower() -> tuple[Following, SimpleNamespace]:
    subscriptions = Subscriptions(["BTCUSDT"])
    connector = SimpleNamespace(subscriptions=subscriptions, want=subscriptions.want, watchdog=Watchdog(patience_ms=0))
    return Following(connector, arguments={}, prefix=""), connector  # type: ignore[arg-type]  # only what is used


def test_a_reported_position_is_held_until_its_trade_is_told() -> None:
    """The log says it, so a restart of the connector knows it a second later."""
    following, connector = follower()
    report = ReportPosition("p", "OPEN", Lots(1), E8(1), Ticks(1), E8(0))
    following.take("account", records.encode(records.PositionReported(symbol="XRPUSDT", cause="c", report=report)))
    assert ("XRPUSDT",) == connector.subscriptions.held

    zero = Milliseconds(0)
    trade = ReportTrade(
        "p", Side.BUY, Lots(1), E8(1), E8(1), zero, zero, E8(0), E8(0), Ticks(1), Ticks(1), 0, "X7", "target"
    )
    following.take("account", records.encode(records.TradeReported(symbol="XRPUSDT", cause="c", trade=trade)))
    assert () == connector.subscriptions.held


def test_the_end_of_one_position_leaves_another_of_the_same_symbol_held() -> None:
    """The next one may be told before the last one's trade is."""
    following, connector = follower()
    zero = Milliseconds(0)
    for name in ("p1", "p2"):
        report = ReportPosition(name, "OPEN", Lots(1), E8(1), Ticks(1), E8(0))
        following.take("account", records.encode(records.PositionReported(symbol="XRPUSDT", cause="c", report=report)))
    trade = ReportTrade(
        "p1", Side.BUY, Lots(1), E8(1), E8(1), zero, zero, E8(0), E8(0), Ticks(1), Ticks(1), 0, "X7", "target"
    )
    following.take("account", records.encode(records.TradeReported(symbol="XRPUSDT", cause="c", trade=trade)))

    assert ("XRPUSDT",) == connector.subscriptions.held


def test_a_bad_name_in_a_list_costs_nothing_but_itself() -> None:
    """Those behind it are wanted, and those before it are given up when a later list is without them."""
    following, connector = follower()
    following.take("tiers", msgspec.json.encode({"held": ["AUSDT"], "shortlisted": ["CUSDT", "B/D", "DUSDT"]}))
    assert {"AUSDT", "BTCUSDT", "CUSDT", "DUSDT"} == set(connector.subscriptions.symbols)
    following.take("tiers", msgspec.json.encode({"held": [], "shortlisted": []}))

    assert ("BTCUSDT",) == connector.subscriptions.symbols


def test_the_lists_of_tiers_replace_each_other() -> None:
    """The newest record counts; what is configured stays."""
    following, connector = follower()
    following.take("tiers", msgspec.json.encode({"held": ["AUSDT"], "shortlisted": ["BUSDT", "CUSDT"], "number": 1}))
    following.take("tiers", msgspec.json.encode({"held": [], "shortlisted": ["CUSDT", "AUSDT"], "number": 2}))
    tiers = {symbol: connector.subscriptions.tier(symbol) for symbol in connector.subscriptions.symbols}

    assert dict.fromkeys(["BTCUSDT", "AUSDT", "CUSDT"], Tier.SHORTLISTED) == tiers


def test_an_order_that_the_venue_took_is_waited_for() -> None:
    """Only lately: a restarted executor tells old outcomes again."""
    following, connector = follower()
    now_ms = time.time_ns() // 1_000_000
    for name, at_ms in (("new", now_ms), ("old", now_ms - 120_000)):
        outcome = RequestEnded(intent="i", position="p", leg=Leg.FAR, client_id=name, verdict=Verdict.ACCEPTED)
        ended = records.AttemptEnded(epoch=1, symbol="BTCUSDT", outcome=outcome, at_ms=Milliseconds(at_ms))
        following.take("attempts", records.encode(ended))

    assert [("new", "BTCUSDT")] == connector.watchdog.overdue(now_ms + 10_000)


def test_what_cannot_be_read_changes_nothing() -> None:
    """Bytes, unknown kinds, a symbol that is no name of a stream."""
    following, connector = follower()
    for topic, value in (("account", b"no"), ("tiers", b'{"held":["A/B"]}'), ("attempts", b'{"type":"new"}')):
        following.take(topic, value)

    assert ("BTCUSDT",) == connector.subscriptions.symbols
