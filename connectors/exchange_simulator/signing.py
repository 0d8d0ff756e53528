"""The only place that knows API keys and checks signatures and timestamps: HMAC, RSA and Ed25519 (sheet 6.1, 1.6)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from typing import Protocol
from urllib.parse import unquote

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from connectors.exchange_simulator.errors import VenueError
from connectors.exchange_simulator.fixed_point import is_whole

DEFAULT_KEY = "simulator-key"
# A documented constant of the simulator, worth nothing anywhere else.
DEFAULT_SECRET = "simulator-secret"
DEFAULT_RECV_WINDOW = 5_000
CLOCK_LEAD_MS = 1_000


class PublicKeyError(Exception):
    """A public key that cannot be registered; the text says what is accepted."""


class Verifier(Protocol):
    """What an API key's signatures are checked with."""

    logs_on: bool

    def accepts(self, payload: str, signature: str) -> bool:
        """Whether *signature*, as sent, is this key's signature of *payload*."""
        ...


class HmacKey:
    """HMAC-SHA256 in hex, in either case."""

    logs_on = False

    def __init__(self, secret: str) -> None:
        self._secret = secret

    def accepts(self, payload: str, signature: str) -> bool:
        """Compare in constant time; text that is not ASCII is no signature."""
        return signature.isascii() and hmac.compare_digest(sign(self._secret, payload), signature.lower())


class PublicKey:
    """RSASSA-PKCS1-v1_5 with SHA-256, or Ed25519; base64, percent-encoded in a query string."""

    def __init__(self, pem: str) -> None:
        """Raises PublicKeyError for anything but an RSA or Ed25519 public key in PEM."""
        try:
            key = load_pem_public_key(pem.encode())
        except (ValueError, UnsupportedAlgorithm) as error:
            raise PublicKeyError(f"no public key in PEM: {error}") from error
        if not isinstance(key, RSAPublicKey | Ed25519PublicKey):
            raise PublicKeyError("only RSA and Ed25519 public keys are accepted")
        self._key = key
        # session.logon takes Ed25519 only (sheet 1.6).
        self.logs_on = isinstance(key, Ed25519PublicKey)

    def accepts(self, payload: str, signature: str) -> bool:
        """Verify base64 of the signature over the bytes sent."""
        try:
            raw = base64.b64decode(unquote(signature), validate=True)
            if isinstance(self._key, Ed25519PublicKey):
                self._key.verify(raw, payload.encode())
            else:
                self._key.verify(raw, payload.encode(), PKCS1v15(), SHA256())
        except (InvalidSignature, binascii.Error, ValueError):
            return False
        return True


class KeyRing:
    """The API keys of the one account."""

    def __init__(self, api_key: str, secret: str) -> None:
        self._keys: dict[str, Verifier] = {api_key: HmacKey(secret)}

    def register(self, api_key: str, pem: str) -> None:
        """Accept a further key by its public half."""
        self._keys[api_key] = PublicKey(pem)

    def find(self, api_key: str | None) -> Verifier:
        """The verifier of a key: -2014 without one, -2015 for an unknown one."""
        if not api_key:
            raise VenueError(-2014)
        found = self._keys.get(api_key)
        if found is None:
            raise VenueError(-2015)
        return found


def sign(secret: str, payload: str) -> str:
    """HMAC-SHA256 of the bytes sent, in hex."""
    return hmac.new(secret.encode(), payload.encode(), hashlib.sha256).hexdigest()


def check_signature(key: Verifier, *, query: str, body: str) -> None:
    """Query and body concatenated without `&`; `signature` must be the last parameter of all."""
    total = query + body
    head, marker, given = total.rpartition("signature=")
    if not marker:
        raise VenueError(-1102, name="signature")
    # The mark before `signature=` is `&`, or nothing when the signature is the whole body.
    payload = head.removesuffix("&")
    if "&" in given or not key.accepts(payload, given):
        raise VenueError(-1022)


def check_sorted_signature(key: Verifier, params: dict[str, str]) -> None:
    """The WebSocket API signs every parameter but `signature`, sorted by name (sheet 1.6)."""
    given = params.get("signature", "")
    if not given:
        raise VenueError(-1102, name="signature")
    payload = "&".join(f"{name}={params[name]}" for name in sorted(params) if name != "signature")
    if not key.accepts(payload, given):
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
