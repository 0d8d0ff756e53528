"""
The only place for the names that follow from a place in the log: cause strings, output ids, client order ids.

An output id is ``<log identity>.<partition><offset>.<line>.<symbol tag><ordinal>`` in base 62, a client id of the
venue is ``<output id>-<leg><attempt>``; the venue allows 36 characters of ``[.A-Z:/a-z0-9_-]`` (venue sheet 6.2).
The log identity is drawn once when the topics are made, so an id of a recreated topic never answers for a new order.
"""

from __future__ import annotations

from hashlib import blake2b

from pipeline.core.events import Leg

DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
LOG_IDENTITY_CHARACTERS = 7
TAG_CHARACTERS = 4
MAX_CLIENT_ID = 36
ATTEMPT_CHARACTERS = 2  # room for this many digits of an attempt number in every client id
_ID_CHARACTERS = frozenset(DIGITS + ".")


def base62(number: int) -> str:
    """Write a non-negative integer in base 62."""
    assert number >= 0, number
    digits = ""
    while True:
        number, rest = divmod(number, 62)
        digits = DIGITS[rest] + digits
        if number == 0:
            return digits


def symbol_tag(symbol: str) -> str:
    """Four base-62 characters that tell the symbols of one line apart (a test holds real ones free of collisions)."""
    number = int.from_bytes(blake2b(symbol.encode(), digest_size=8).digest(), "big") % 62**TAG_CHARACTERS
    return base62(number).rjust(TAG_CHARACTERS, "0")


def cause(*, partition: int, offset: int, line: int) -> str:
    """The position of a line as people and records write it."""
    return f"{partition}/{offset}/{line}"


def output_id(*, log_identity: str, partition: int, offset: int, line: int, tag: str, ordinal: int) -> str:
    """The id of the *ordinal*-th output that one line led to for one symbol."""
    return f"{log_identity}.{base62(partition)}{base62(offset)}.{base62(line)}.{tag}{base62(ordinal)}"


def client_id(*, intent: str, leg: Leg, attempt: int) -> str:
    """The venue's client id of one attempt for one leg of an intent; raises nothing, asserts the venue's length."""
    text = f"{intent}-{leg.value}{base62(attempt)}"
    assert len(text) <= MAX_CLIENT_ID, text
    return text


def intent_of(client: str) -> str | None:
    """The intent id inside one of our client ids, None for a foreign one."""
    intent, dash, leg = client.rpartition("-")
    if not dash or intent.count(".") != 3 or len(leg) < 2 or leg[0] not in "eabtuc":
        return None
    return intent


def leg_of(client: str) -> Leg:
    """The leg inside one of our client ids (call only after ``intent_of`` said it is ours)."""
    return Leg(client.rpartition("-")[2][0])


def well_formed(intent: str) -> bool:
    """True for what can be an intent's id: the venue takes the client ids made of it, and ``intent_of`` reads them."""
    name = f"{intent}-e{DIGITS[0] * ATTEMPT_CHARACTERS}"
    return len(name) <= MAX_CLIENT_ID and intent_of(name) == intent and set(intent) <= _ID_CHARACTERS
