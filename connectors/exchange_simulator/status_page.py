"""The only place that shows people the exchange as one plain page: symbols, connections, orders, positions, faults."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any, Final

from connectors.exchange_simulator.faults import FaultPlan
from connectors.exchange_simulator.fixed_point import format_e8
from connectors.exchange_simulator.venue import Venue

Payload = dict[str, Any]  # Any: JSON
REFRESH_SECONDS: Final = 2
ROWS_SHOWN: Final = 200
_STYLE: Final = (
    "body{font:14px sans-serif;margin:1.5em}table{border-collapse:collapse;margin-bottom:1.5em}"
    "td,th{border:1px solid #ccc;padding:2px 8px;text-align:left}"
)


def page(venue: Venue, faults: FaultPlan, sockets: Sequence[Payload], source: Payload, *, now_ms: int) -> str:
    """The page; it loads itself anew every two seconds, without a script."""
    sections = (
        _table("Source", ("what", "value"), [(name, value) for name, value in source.items() if name != "paths"]),
        _table(
            "Symbols", ("symbol", "status", "bid", "ask", "mark", "last", "funding", "next funding in s"),
            [_symbol(venue, name, now_ms) for name in venue.markets],
        ),
        _table("Connections", ("route", "streams", "frames", "bytes"), [tuple(one.values()) for one in sockets]),
        _table("Positions", ("symbol", "side", "quantity", "entry", "unrealised"), _positions(venue)),
        _table("Open orders", ("symbol", "side", "type", "quantity", "filled", "price", "client id"), _orders(venue)),
        _table("Waiting stops", ("symbol", "side", "type", "trigger", "state", "client id"), _stops(venue)),
        _table("Fault rules", ("id", "name", "action", "match", "bites", "left"), [
            (rule.id, rule.name, rule.action, rule.match, rule.bites, "for ever" if rule.count < 0 else rule.count)
            for rule in (*faults.done, *faults.rules)
        ]),
        _table("Faults that bit", ("action", "times"), list(venue.ledger.faults.items())),
    )  # fmt: skip
    wallet = format_e8(venue.account.wallet)
    return (
        f'<!doctype html><html><head><meta charset="utf-8"><meta http-equiv="refresh" content="{REFRESH_SECONDS}">'
        f"<title>Exchange simulator</title><style>{_STYLE}</style></head><body><h1>Exchange simulator</h1>"
        f"<p>Exchange time {now_ms}, wallet {wallet} USDT, ledger {venue.ledger.count} lines.</p>"
        f"{''.join(sections)}</body></html>"
    )


def _table(title: str, heads: Sequence[str], rows: Sequence[Iterable[object]]) -> str:
    """A table with everything escaped; nothing to show says so."""
    if not rows:
        return f"<h2>{title}</h2><p>none</p>"
    head = "".join(f"<th>{escape(name)}</th>" for name in heads)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(str(value))}</td>" for value in row) + "</tr>" for row in rows[:ROWS_SHOWN]
    )
    more = f"<p>and {len(rows) - ROWS_SHOWN} more</p>" if len(rows) > ROWS_SHOWN else ""
    return f"<h2>{title} ({len(rows)})</h2><table><tr>{head}</tr>{body}</table>{more}"


def _symbol(venue: Venue, name: str, now_ms: int) -> tuple[object, ...]:
    market = venue.markets[name]
    row = market.row
    bid, _, ask, _ = market.best()
    until_funding = (market.funding.next_ms - now_ms) // 1_000
    return (
        name, row.status, row.price_text(bid), row.price_text(ask), format_e8(market.mark_e8, row.price_decimals),
        row.price_text(market.last_ticks), format_e8(market.funding.rate_e8), until_funding,
    )  # fmt: skip


def _positions(venue: Venue) -> list[tuple[object, ...]]:
    return [
        (
            held.row.symbol, held.side, held.row.quantity_text(held.lots),
            format_e8(held.entry_e8(), held.row.price_decimals),
            format_e8(held.unrealised(venue.markets[held.row.symbol].mark_e8), 2),
        )
        for held in venue.account.positions
        if held.lots
    ]  # fmt: skip


def _orders(venue: Venue) -> list[tuple[object, ...]]:
    return [
        (
            order.row.symbol, order.side, order.order_type, order.row.quantity_text(order.lots),
            order.row.quantity_text(order.filled), order.row.price_text(order.price), order.client_id,
        )
        for group in venue.trading.open_orders.values()
        for order in group.values()
    ]  # fmt: skip


def _stops(venue: Venue) -> list[tuple[object, ...]]:
    return [
        (stop.row.symbol, stop.side, stop.order_type, stop.row.price_text(stop.trigger), stop.state, stop.client_id)
        for stop in venue.conditional.opened()
    ]
