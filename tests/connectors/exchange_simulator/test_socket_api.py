"""The WebSocket API answers as the sheet's section 1.6 says and shares everything with the REST interface."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.exchange_simulator.errors import VenueError
from connectors.exchange_simulator.signing import DEFAULT_KEY, DEFAULT_SECRET, sign
from connectors.exchange_simulator.socket_api import METHODS, Session, answer, failure, id_of, read
from tests.connectors.exchange_simulator.shapes import differences
from tests.connectors.exchange_simulator.venues import Bench

ORDER: dict[str, Any] = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "0.010",
         "price": "83800.00"}  # fmt: skip
PLACED = """{"id":"9c1","status":200,"result":{"orderId":8,"symbol":"B","status":"NEW","clientOrderId":"e","price":"8",
"origQty":"0","executedQty":"0","cumQty":"0","timeInForce":"GTC","type":"LIMIT","reduceOnly":false,
"closePosition":false,"side":"BUY","positionSide":"BOTH","stopPrice":"0","workingType":"C","priceProtect":false,
"origType":"LIMIT","priceMatch":"NONE","selfTradePreventionMode":"EXPIRE_MAKER","goodTillDate":0,"updateTime":1},
"rateLimits":[{"rateLimitType":"R","interval":"M","intervalNum":1,"limit":2400,"count":6}]}"""


class Caller:
    """One session on a bench's venue."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.session = Session(address="127.0.0.1", now_ms=bench.now)

    def call(self, method: str, *, signed: bool = True, number: int | str = "9c1", **params: Any) -> dict[str, Any]:
        """One request, with key and HMAC signature unless told otherwise."""
        if signed:
            params = {"apiKey": DEFAULT_KEY, "timestamp": self.bench.now} | params
            texts = {
                name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in params.items()
            }
            payload = "&".join(f"{name}={texts[name]}" for name in sorted(texts))
            params["signature"] = sign(DEFAULT_SECRET, payload)
        text = json.dumps({"id": number, "method": method, "params": params})
        return answer(self.bench.venue, self.session, read(text), self.bench.now)


def test_an_order_is_placed_with_the_sheets_answer() -> None:
    """Names and types of the sheet's sample, limits included; the counters are those of REST."""
    bench = Bench()
    caller = Caller(bench)
    bench.limit("BUY", "0.010", "83000.00")
    reply = caller.call("order.place", **ORDER)

    assert [] == differences(json.loads(PLACED), reply)
    assert [("REQUEST_WEIGHT", 0), ("ORDERS", 2), ("ORDERS", 2)] == [
        (row["rateLimitType"], row["count"]) for row in reply["rateLimits"]
    ]
    assert "3" == bench.limit("BUY", "0.010", "83000.00").headers["X-MBX-ORDER-COUNT-1M"]


def test_every_method_of_the_sheet_answers() -> None:
    """A life of an order and of a conditional one, account, tickers, depth and the user stream's key."""
    bench = Bench()
    caller = Caller(bench)
    order_id = caller.call("order.place", **ORDER)["result"]["orderId"]
    same = {"symbol": "BTCUSDT", "orderId": order_id}
    algo = {"algoType": "CONDITIONAL", "symbol": "BTCUSDT", "side": "SELL", "type": "STOP_MARKET",
            "triggerPrice": "80000.00", "closePosition": True, "clientAlgoId": "rail"}  # fmt: skip
    statuses = {
        method: caller.call(method, **params)["status"]
        for method, params in (
            ("order.modify", same | {"side": "BUY", "quantity": "0.020", "price": "83700.00"}),
            ("order.status", same),
            ("order.cancel", same),
            ("algoOrder.place", algo),
            ("algoOrder.cancel", {"clientAlgoId": "rail"}),
            *((name, {}) for name in METHODS if "account" in name or "ticker" in name),
            ("depth", {"symbol": "BTCUSDT", "limit": 5}),
            ("userDataStream.start", {}),
            ("userDataStream.ping", {}),
            ("userDataStream.stop", {}),
            ("session.status", {}),
        )
    }

    assert {200} == set(statuses.values()), statuses
    assert len(METHODS) == len(statuses)


def test_refusals_have_status_and_code() -> None:
    """-1102, -1022, -2015, -2014, -1021 and an unknown method; `error` stands in place of `result`."""
    caller = Caller(Bench())
    for reply, status, code in (
        (caller.call("order.place", **(ORDER | {"quantity": ""})), 400, -1102),
        (caller.call("order.place", **(ORDER | {"apiKey": "other"})), 401, -2015),
        (caller.call("order.place", **(ORDER | {"timestamp": 1})), 400, -1021),
        (caller.call("order.place", signed=False, **ORDER), 401, -2014),
        (caller.call("order.place", signed=False, apiKey=DEFAULT_KEY, timestamp=caller.bench.now, signature="0"), 400,
         -1022),
        (caller.call("order.amend"), 400, -1020),
        (caller.call("session.logon"), 400, -4056),
    ):  # fmt: skip
        assert (status, code) == (reply["status"], reply["error"]["code"])
        assert "result" not in reply


def test_an_ed25519_session_needs_no_further_signatures() -> None:
    """After session.logon only the timestamp is left; logout ends it (1.6)."""
    bench = Bench()
    caller = Caller(bench)
    key = Ed25519PrivateKey.generate()
    bench.venue.keys.register(
        "edwards", key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    )
    assert (None, None) == (
        caller.call("session.status", signed=False)["result"]["apiKey"],
        caller.call("session.status", signed=False)["result"]["authorizedSince"],
    )
    payload = f"apiKey=edwards&timestamp={bench.now}"
    signature = base64.b64encode(key.sign(payload.encode())).decode()
    logon = caller.call("session.logon", signed=False, apiKey="edwards", timestamp=bench.now, signature=signature)
    assert ("edwards", bench.now) == (logon["result"]["apiKey"], logon["result"]["authorizedSince"])
    assert 200 == caller.call("order.place", signed=False, timestamp=bench.now, **ORDER)["status"]
    assert -1102 == caller.call("order.place", signed=False, **ORDER)["error"]["code"]
    assert caller.call("session.logout", signed=False)["result"]["apiKey"] is None
    assert -2014 == caller.call("order.place", signed=False, timestamp=bench.now, **ORDER)["error"]["code"]


def test_limits_may_be_hidden_for_a_connection_or_a_request() -> None:
    """returnRateLimits of the request wins over the connection's."""
    caller = Caller(Bench())
    caller.session.return_rate_limits = False
    assert "rateLimits" not in caller.call("ticker.price", signed=False)
    assert "rateLimits" in caller.call("ticker.price", signed=False, returnRateLimits=True)


@pytest.mark.parametrize(
    ("text", "number"),
    [("{", None), ("[]", None), ("3", None), ('{"id":7}', 7), ('{"id":true,"method":"x"}', None),
     ('{"id":"a","method":3}', "a"), ('{"id":"a","method":"x","params":[1]}', "a"),
     ('{"id":"a","method":"x","params":{"a":{}}}', "a")],
)  # fmt: skip
def test_what_is_no_request_is_answered_with_its_id(text: str, number: int | str | None) -> None:
    """Status 400 and a code; the id is told when there was one."""
    bench = Bench()
    with pytest.raises(VenueError) as refusal:
        read(text)
    body = failure(bench.venue, Session(address="a", now_ms=0), id_of(text), refusal.value, bench.now)

    assert (number, 400) == (body["id"], body["status"])


words = st.one_of(st.text(max_size=12), st.integers(), st.booleans(), st.none(), st.floats(allow_nan=False))
requests = st.fixed_dictionaries(
    {"id": words, "method": st.one_of(st.sampled_from(sorted(METHODS)), st.text(max_size=8))},
    optional={"params": st.dictionaries(st.sampled_from([*ORDER, "apiKey", "timestamp", "limit"]), words, max_size=6)},
)


@settings(max_examples=150, deadline=None)
@given(requests, st.integers(0, 40), st.text(max_size=3))
def test_any_frame_gets_an_answer(message: dict[str, Any], at: int, noise: str) -> None:
    """Whatever is sent, as it is or damaged: an answer with a status below 500, never an exception."""
    bench = Bench()
    session = Session(address="127.0.0.1", now_ms=bench.now)
    whole = json.dumps(message)
    for text in (whole, whole[:at] + noise + whole[at:]):
        try:
            reply = answer(bench.venue, session, read(text), bench.now)
        except VenueError as refusal:
            reply = failure(bench.venue, session, id_of(text), refusal, bench.now)
        assert reply["status"] < 500
        assert ("error" in reply) == (reply["status"] != 200)
