"""The only place with the WebSocket API for orders: its methods, sessions, signatures and answers (sheet 1.6).

Pure: a request's text in, an answer out. Methods share handlers, weights and counters with the REST interface.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from connectors.exchange_simulator import account_endpoints as account
from connectors.exchange_simulator import algo_endpoints as algo
from connectors.exchange_simulator import market_endpoints as market
from connectors.exchange_simulator import order_endpoints as order
from connectors.exchange_simulator.errors import VenueError
from connectors.exchange_simulator.parameters import Params
from connectors.exchange_simulator.signing import check_sorted_signature, check_time
from connectors.exchange_simulator.venue import Endpoint, Venue

Payload = dict[str, Any]  # Any: the venue's JSON
HANDSHAKE_WEIGHT: Final = 5
SESSION_WEIGHT: Final = 2
_SIGNED: Final = "SIGNED"
METHODS: Final[dict[str, Endpoint]] = {
    "order.place": Endpoint(order.new_order, 0, _SIGNED, counts_order=True),
    "order.modify": Endpoint(order.modify_order, 0, _SIGNED, counts_order=True),
    "order.cancel": Endpoint(order.delete_order, 1, _SIGNED),
    "order.status": Endpoint(order.get_order, 1, _SIGNED),
    "algoOrder.place": Endpoint(algo.new_algo_order, 0, _SIGNED, counts_order=True),
    "algoOrder.cancel": Endpoint(algo.delete_algo_order, 1, _SIGNED),
    "account.position": Endpoint(account.position_risk_v2, 5, _SIGNED),
    "v2/account.position": Endpoint(account.position_risk_v3, 5, _SIGNED),
    "account.balance": Endpoint(account.balance, 5, _SIGNED),
    "v2/account.balance": Endpoint(account.balance, 5, _SIGNED),
    "account.status": Endpoint(account.account_v2, 5, _SIGNED),
    "v2/account.status": Endpoint(account.account_info, 5, _SIGNED),
    "ticker.price": Endpoint(market.price_ticker, lambda params: 1 if "symbol" in params else 2),
    "ticker.book": Endpoint(market.book_ticker, lambda params: 2 if "symbol" in params else 5),
    "depth": Endpoint(market.depth, market.depth_weight),
    "userDataStream.start": Endpoint(account.listen_key_start, 1, "KEY"),
    "userDataStream.ping": Endpoint(account.listen_key_keep, 1, "KEY"),
    "userDataStream.stop": Endpoint(account.listen_key_close, 1, "KEY"),
}
SESSION_METHODS: Final = ("session.logon", "session.status", "session.logout")


class Session:
    """One connection: who has logged on, since when, and whether answers tell the limits."""

    def __init__(self, *, address: str, now_ms: int, return_rate_limits: bool = True) -> None:
        self.address = address
        self.connected_ms = now_ms
        self.return_rate_limits = return_rate_limits
        self.api_key: str | None = None
        self.authorized_ms: int | None = None


class SocketRequest(msgspec.Struct, frozen=True):
    """A decoded request; *params* as text, because signatures and handlers read text."""

    id: int | str | None
    method: str
    params: Params
    wants_limits: bool | None = None


def read(text: str) -> SocketRequest:
    """One request from a text frame; VenueError for anything that is none."""
    try:
        message = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeEncodeError) as error:
        raise VenueError(-1000, message="Invalid JSON in request.") from error
    if not isinstance(message, dict):
        raise VenueError(-1000, message="A request must be a JSON object.")
    number, method, params = message.get("id"), message.get("method"), message.get("params", {})
    if isinstance(number, bool) or not isinstance(number, int | str | None):
        raise VenueError(-1102, name="id")
    if not isinstance(method, str) or not method:
        raise VenueError(-1102, name="method")
    if not isinstance(params, dict):
        raise VenueError(-1102, name="params")
    # It is signed like any other parameter.
    wants = params.get("returnRateLimits")
    if any(isinstance(value, dict | list) for value in params.values()):
        raise VenueError(-1102, name="params")
    plain = {name: _text(value) for name, value in params.items() if value is not None}
    return SocketRequest(number, method, plain, wants if isinstance(wants, bool) else None)


def _text(value: Any) -> str:  # Any: a JSON scalar
    return str(value).lower() if isinstance(value, bool) else str(value)


def id_of(text: str) -> int | str | None:
    """The id of a frame that could not be read as a request, if it has one."""
    try:
        message = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeEncodeError):
        return None
    number = message.get("id") if isinstance(message, dict) else None
    return number if isinstance(number, int | str) and not isinstance(number, bool) else None


def answer(venue: Venue, session: Session, request: SocketRequest, now_ms: int) -> Payload:
    """Carry out one request; everything it causes is in the venue's user events before the answer is returned."""
    if request.method in SESSION_METHODS:
        endpoint = Endpoint(lambda venue, params, now: _session(venue, session, request.method, params, now), 2)
    elif request.method in METHODS:
        endpoint = METHODS[request.method]
    else:
        return failure(venue, session, request.id, VenueError(-1020), now_ms, wants=request.wants_limits)
    outcome = venue.carry_out(
        endpoint,
        request.params,
        address=session.address,
        label=("WS", request.method),
        authorize=lambda: _authorize(venue, session, endpoint, request.params, now_ms),
        now_ms=now_ms,
    )
    body: Payload = {"id": request.id, "status": outcome.status}
    body["error" if outcome.code is not None else "result"] = outcome.body
    return _with_limits(venue, session, body, now_ms, wants=request.wants_limits)


def failure(
    venue: Venue, session: Session, number: int | str | None, refusal: VenueError, now_ms: int, *,
    wants: bool | None = None,
) -> Payload:  # fmt: skip
    """The answer to what is no request."""
    body: Payload = {"id": number, "status": refusal.status, "error": refusal.body()}
    return _with_limits(venue, session, body, now_ms, wants=wants)


def _with_limits(venue: Venue, session: Session, body: Payload, now_ms: int, *, wants: bool | None) -> Payload:
    if session.return_rate_limits if wants is None else wants:
        limits = venue.settings.limits
        ten, minute = venue.limiter.order_counts(now_ms)
        body["rateLimits"] = [
            _limit("REQUEST_WEIGHT", "MINUTE", 1, limits.weight_per_minute,
                   venue.limiter.used_weight(session.address, now_ms)),
            _limit("ORDERS", "SECOND", 10, limits.orders_per_10_seconds, ten),
            _limit("ORDERS", "MINUTE", 1, limits.orders_per_minute, minute),
        ]  # fmt: skip
    return body


def _limit(kind: str, interval: str, number: int, limit: int, count: int) -> Payload:
    return {"rateLimitType": kind, "interval": interval, "intervalNum": number, "limit": limit, "count": count}


def _authorize(venue: Venue, session: Session, endpoint: Endpoint, params: Params, now_ms: int) -> None:
    """A key in the request counts; without one the session's, which needs no signature any more."""
    if endpoint.security == "NONE":
        return
    if "apiKey" not in params and session.api_key is not None:
        if endpoint.security == _SIGNED:
            check_time(
                timestamp=params.get("timestamp"),
                recv_window=params.get("recvWindow"),
                now_ms=now_ms + venue.gateway_skew_ms,
            )
        return
    key = venue.keys.find(params.get("apiKey"))
    if endpoint.security == _SIGNED:
        check_time(
            timestamp=params.get("timestamp"),
            recv_window=params.get("recvWindow"),
            now_ms=now_ms + venue.gateway_skew_ms,
        )
        check_sorted_signature(key, params)


def _session(venue: Venue, session: Session, method: str, params: Params, now_ms: int) -> Payload:
    """session.logon (Ed25519 keys only), session.status, session.logout."""
    if method == "session.logon":
        key = venue.keys.find(params.get("apiKey"))
        if not key.logs_on:
            raise VenueError(-4056)
        check_time(
            timestamp=params.get("timestamp"),
            recv_window=params.get("recvWindow"),
            now_ms=now_ms + venue.gateway_skew_ms,
        )
        check_sorted_signature(key, params)
        session.api_key, session.authorized_ms = params["apiKey"], now_ms
    elif method == "session.logout":
        session.api_key = session.authorized_ms = None
    return {
        "apiKey": session.api_key,
        "authorizedSince": session.authorized_ms,
        "connectedSince": session.connected_ms,
        "returnRateLimits": session.return_rate_limits,
        "serverTime": now_ms + venue.gateway_skew_ms,
    }
