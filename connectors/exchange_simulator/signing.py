"""The only place that checks request signatures and timestamps (sheet 6.1)."""

from __future__ import annotations

import hashlib
import hmac

from connectors.exchange_simulator.errors import VenueError
from connectors.exchange_simulator.fixed_point import is_whole

DEFAULT_KEY = "simulator-key"
# A documented constant of the simulator, worth nothing anywhere else.
DEFAULT_SECRET = "simulator-secret"
DEFAULT_RECV_WINDOW = 5_000
CLOCK_LEAD_MS = 1_000


def sign(secret: str, payload: str) -> str:
    """HMAC-SHA256 of the bytes sent, in hex."""
    return hmac.new(secret.encode(), payload.encode(), hashlib.sha256).hexdigest()


def check_signature(secret: str, *, query: str, body: str) -> None:
    """Query and body concatenated without `&`; `signature` must be the last parameter of all."""
    total = query + body
    head, marker, given = total.rpartition("signature=")
    if not marker:
        raise VenueError(-1102, name="signature")
    # The mark before `signature=` is `&`, or nothing when the signature is the whole body.
    payload = head.removesuffix("&")
    if "&" in given or not hmac.compare_digest(sign(secret, payload), given.lower()):
        raise VenueError(-1022)


def check_time(*, timestamp: str | None, recv_window: str | None, now_ms: int) -> None:
    """`timestamp < serverTime + 1000 && serverTime − timestamp <= recvWindow`, else -1021."""
    if timestamp is None or not is_whole(timestamp, longest=15):
        raise VenueError(-1102, name="timestamp")
    window = DEFAULT_RECV_WINDOW
    if recv_window is not None:
        if not is_whole(recv_window, longest=10):
            raise VenueError(-1102, name="recvWindow")
        window = int(recv_window)
    sent = int(timestamp)
    if not (sent < now_ms + CLOCK_LEAD_MS and now_ms - sent <= window):
        raise VenueError(-1021)
