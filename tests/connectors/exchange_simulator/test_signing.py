"""Signatures are those of the sheet's vectors (6.1), over the bytes sent, with the signature last."""

from __future__ import annotations

import base64
from urllib.parse import quote

import pytest
from cryptography.hazmat.primitives.asymmetric import dsa, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from connectors.exchange_simulator.errors import VenueError
from connectors.exchange_simulator.signing import (
    HmacKey,
    KeyRing,
    PublicKey,
    PublicKeyError,
    check_signature,
    check_sorted_signature,
    check_time,
    sign,
)

SECRET = "2b5eb11e18796d12d88f13dc27dbbd02c2cc51ff7059765ed9821957d82bb4d9"
PLAIN = (
    "symbol=BTCUSDT&side=BUY&type=LIMIT&quantity=1&price=9000&timeInForce=GTC&recvWindow=5000&timestamp=1591702613943"
)
MIXED_QUERY = "symbol=BTCUSDT&side=BUY&type=LIMIT&timeInForce=GTC"
MIXED_BODY = "quantity=1&price=9000&recvWindow=5000&timestamp=1591702613943"
BATCH = (
    "batchOrders=%5B%7B%22type%22%3A%22LIMIT%22%2C%22timeInForce%22%3A%22GTC%22%2C%22symbol%22%3A%22BTCUSDT%22%2C%22"
    "side%22%3A%22BUY%22%2C%22price%22%3A%2210001%22%2C%22quantity%22%3A%220.001%22%7D%5D&recvWindow=5000"
    "&timestamp=1591702613943"
)
VECTORS = [
    (PLAIN, "3c661234138461fcc7a7d8746c6558c9842d4e10870d2ecbedf7777cad694af9"),
    (MIXED_QUERY + MIXED_BODY, "30baaf0fab549bbeda7f5ef201898b34122da25fd23c646cac2c529aebe670a4"),
    (BATCH, "f9989392bce641701caf36bd26cd450a5dfe55cf28491470af9ba96483ecb538"),
]


@pytest.mark.parametrize(("payload", "signature"), VECTORS)
def test_the_sheets_vectors(payload: str, signature: str) -> None:
    """HMAC-SHA256 of the payload, in hex."""
    assert signature == sign(SECRET, payload)


def test_query_body_and_mixed_requests_are_accepted_in_either_case() -> None:
    """The signature may end the query or the body, in upper or lower case; query and body join without `&`."""
    plain, mixed = VECTORS[0][1], VECTORS[1][1]

    check_signature(HmacKey(SECRET), query=f"{PLAIN}&signature={plain}", body="")
    check_signature(HmacKey(SECRET), query="", body=f"{PLAIN}&signature={plain.upper()}")
    check_signature(HmacKey(SECRET), query=MIXED_QUERY, body=f"{MIXED_BODY}&signature={mixed}")


@pytest.mark.parametrize(
    ("query", "code"),
    [
        (PLAIN, -1102),
        (f"{PLAIN}&signature={'0' * 64}", -1022),
        (f"signature={VECTORS[0][1]}&{PLAIN}", -1022),
        (f"{PLAIN}0&signature={VECTORS[0][1]}", -1022),
    ],
)
def test_a_missing_wrong_or_early_signature_is_refused(query: str, code: int) -> None:
    """Missing −1102, wrong or not last −1022."""
    with pytest.raises(VenueError) as refusal:
        check_signature(HmacKey(SECRET), query=query, body="")
    assert code == refusal.value.code


@pytest.mark.parametrize(
    ("sent", "window", "accepted"),
    [
        (10_000, None, True),
        (10_999, None, True),
        (11_000, None, False),
        (5_000, None, True),
        (4_999, None, False),
        (9_000, "1000", True),
        (8_999, "1000", False),
    ],
)
def test_the_clock_rule(sent: int, window: str | None, accepted: bool) -> None:
    """timestamp < serverTime + 1000 and serverTime − timestamp ≤ recvWindow, at both edges."""
    if accepted:
        check_time(timestamp=str(sent), recv_window=window, now_ms=10_000)
        return
    with pytest.raises(VenueError) as refusal:
        check_time(timestamp=str(sent), recv_window=window, now_ms=10_000)
    assert -1021 == refusal.value.code


@pytest.mark.parametrize("stamp", [None, "", "now", "-5", "1e9"])
def test_a_missing_timestamp_is_a_missing_parameter(stamp: str | None) -> None:
    """−1102, not −1021."""
    with pytest.raises(VenueError) as refusal:
        check_time(timestamp=stamp, recv_window=None, now_ms=1)
    assert -1102 == refusal.value.code


def pem(key: PublicKeyTypes) -> str:
    """A public key as clients export it."""
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def test_the_websocket_vector_is_sorted_and_has_the_key() -> None:
    """Every parameter but the signature, sorted by name, apiKey included (sheet 1.6, 6.1)."""
    params = dict(pair.split("=") for pair in PLAIN.split("&"))
    params["apiKey"] = "dbefbc809e3e83c283a984c3a1459732ea7db1360ca80c5c2c8867408d28cc83"
    good = "5b8fe2b962b8e1b2b82fb40e548d56147c2a8f835b5f1393ae4b4b90c38b527f"

    check_sorted_signature(HmacKey(SECRET), params | {"signature": good})
    for given, code in (("0" * 64, -1022), ("", -1102)):
        with pytest.raises(VenueError) as refusal:
            check_sorted_signature(HmacKey(SECRET), params | {"signature": given})
        assert code == refusal.value.code


def test_rsa_and_ed25519_sign_the_same_payload_in_base64() -> None:
    """Percent-encoded in the query; one changed byte of payload or signature is refused."""
    edwards = ed25519.Ed25519PrivateKey.generate()
    rivest = rsa.generate_private_key(public_exponent=65_537, key_size=2_048)
    for key, raw in (
        (PublicKey(pem(edwards.public_key())), edwards.sign(PLAIN.encode())),
        (PublicKey(pem(rivest.public_key())), rivest.sign(PLAIN.encode(), padding.PKCS1v15(), SHA256())),
    ):
        text = base64.b64encode(raw).decode()
        check_signature(key, query=f"{PLAIN}&signature={quote(text, safe='')}", body="")
        for query in (
            f"{PLAIN}0&signature={quote(text, safe='')}",
            f"{PLAIN}&signature=AAAA",
            f"{PLAIN}&signature=%ff",
        ):
            with pytest.raises(VenueError) as refusal:
                check_signature(key, query=query, body="")
            assert -1022 == refusal.value.code
    assert (True, False, False) == (
        PublicKey(pem(edwards.public_key())).logs_on,
        PublicKey(pem(rivest.public_key())).logs_on,
        HmacKey(SECRET).logs_on,
    )


def test_only_known_keys_of_the_two_kinds_are_accepted() -> None:
    """−2014 without a key, −2015 for an unknown one; rubbish and other key kinds cannot be registered."""
    ring = KeyRing("one", SECRET)
    for name, code in ((None, -2014), ("", -2014), ("two", -2015)):
        with pytest.raises(VenueError) as refusal:
            ring.find(name)
        assert code == refusal.value.code
    for text in ("", "no key", pem(dsa.generate_private_key(key_size=1_024).public_key())):
        with pytest.raises(PublicKeyError):
            ring.register("two", text)
