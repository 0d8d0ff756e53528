"""
The only place for what the processes are told at start: environment and configuration file become one ``Settings``.

The file's keys stand in ``pipeline.configuration``. Every problem of both is collected and named at once. Secrets come
from the environment or from files only, and never show in a repr. The venue is a simulator on this machine unless
somebody says otherwise, and the real one is refused unless ``PERPGUARD_REAL_MONEY=yes`` says so.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import msgspec

from pipeline import plugin_rows
from pipeline.configuration import (
    NOT_YET,
    SECTIONS,
    STREAMS,
    ConfigurationError,
    Json,
    accept,
    contradictions,
    defaults,
    factor_overrides,
    flatten,
    read_json,
    wrong,
)
from pipeline.core.account_state import RiskRules
from pipeline.core.policies import Policy
from pipeline.core.units import E8, ONE_E8

DEFAULT_REST_URL: Final = "http://127.0.0.1:18080"
DEFAULT_WS_URL: Final = "ws://127.0.0.1:18080"
# Role → what it needs at the real venue. The connector asks for the listen key, which takes no signature, so the
# secret stays with the executor; decide and account never speak with the venue.
KEYS_OF_ROLE: Final[Mapping[str, tuple[str, ...]]] = {
    "all": ("api_key", "api_secret"),
    "decide": (),
    "account": (),
    "execute": ("api_key", "api_secret"),
    "connector": ("api_key",),
}
ROLES: Final = tuple(KEYS_OF_ROLE)
# What `perpguard simulator` takes; used when the venue is on this machine and no key is given.
SIMULATOR_KEY: Final = "simulator-key"
SIMULATOR_SECRET: Final = "simulator-secret"
SHORTEST_SECRET: Final = 32  # of the webhook: whoever guesses it may open positions
REAL_MONEY: Final = "PERPGUARD_REAL_MONEY"
SECURITY_PROTOCOLS: Final = ("PLAINTEXT", "SASL_SSL")


class Secret:
    """A text that shows itself only to who asks for it by ``reveal()``: repr, str, JSON and logs get a placeholder."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The text itself."""
        return self._text

    def __bool__(self) -> bool:
        return bool(self._text)

    def __repr__(self) -> str:
        return "Secret(***)" if self._text else "Secret(empty)"

    __str__ = __repr__

    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError("a secret is not written anywhere")


# ------------------------------------------------------------------------------------------------ what comes out


class DataSource(msgspec.Struct, frozen=True):
    """Where market data come from; ``ws_streams`` in the design document's names (see ``STREAMS``)."""

    primary: str
    fallback: str
    ws_streams: tuple[str, ...]


class Polling(msgspec.Struct, frozen=True):
    """REST polling while sockets are down."""

    enabled: bool
    fallback_interval_sec: int


class Cache(msgspec.Struct, frozen=True):
    """Lives of cached values, in seconds."""

    enabled: bool
    factor_cache_ttl_sec: int
    data_cache_ttl_sec: int


class RateLimitConfig(msgspec.Struct, frozen=True):
    """
    The design document's own REST budget; it binds the lanes ``entry`` and ``data`` only (domain 6.7).

    ``safety_margin`` is the largest share of the venue's weight those lanes may use.
    """

    rest_api_per_minute: int
    safety_margin: float
    daily_budget: int


class Performance(msgspec.Struct, frozen=True):
    """``max_positions`` are the slots of account; the latency is what reports compare with."""

    max_positions: int
    target_latency_ms: int
    recompute_threshold: float


class Limits(msgspec.Struct, frozen=True):
    """What the executor never exceeds, whatever a topic says (architecture 2.4); notional in E8 USDT per position."""

    symbols: tuple[str, ...]
    max_notional_e8: E8
    max_leverage: int
    max_positions: int
    entries_per_minute: int
    moves_per_minute: int
    foreign_positions: str = "restore"


class Settings(msgspec.Struct, frozen=True):
    """
    Everything the processes are told at start (see ``load``).

    ``config_digest`` is the hash of the effective configuration, also in ``policy.digest``. ``warnings`` are things
    that are accepted but served otherwise than the words say; ``notices`` say what a real venue will be used for.
    """

    brokers: str
    prefix: str
    role: str
    instance: str
    data_directory: Path
    rest_url: str
    ws_url: str
    api_key: Secret
    api_secret: Secret
    symbols: tuple[str, ...]
    policy: Policy
    limits: Limits
    data_source: DataSource
    polling: Polling
    cache: Cache
    rate_limit: RateLimitConfig
    performance: Performance
    config_digest: str
    venue: str
    risk: RiskRules = RiskRules()
    session_timeout_s: int = 6
    metrics_port: int = 0
    kafka_security: str = "PLAINTEXT"
    kafka_username: str = ""
    kafka_password: Secret = Secret("")
    webhook_secret: Secret = Secret("")
    order_socket_url: str = ""  # "": orders go by REST
    order_socket_key: Secret = Secret("")
    order_socket_private_key: Secret = Secret("")
    plugin_directory: Path = Path("plugins")
    warnings: tuple[str, ...] = ()
    notices: tuple[str, ...] = ()


# ------------------------------------------------------------------------------------------- reading the environment


class _Environment:
    """Reads variables and collects what is wrong with them."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self.problems: list[str] = []

    def text(self, name: str, default: str, *, pattern: str = r".+", allowed: str = "a text") -> str:
        value = self._environ.get(name, "") or default
        if value != default and not re.fullmatch(pattern, value):
            self.problems.append(wrong(name, value, allowed))
        return value

    def choice(self, name: str, default: str, words: tuple[str, ...]) -> str:
        return self.text(name, default, pattern="|".join(words), allowed=" or ".join(words))

    def integer(self, name: str, default: int, *, low: int, high: int) -> int:
        text = self._environ.get(name, "") or str(default)
        if re.fullmatch(r"[0-9]{1,9}", text) and low <= int(text) <= high:
            return int(text)
        self.problems.append(wrong(name, text, f"an integer from {low} to {high}"))
        return default

    def url(self, name: str, default: str, schemes: tuple[str, ...]) -> str:
        value = (self._environ.get(name, "") or default).rstrip("/")
        parts = urlsplit(value)
        if parts.scheme not in schemes or not parts.hostname or parts.query or parts.username:
            self.problems.append(wrong(name, value, " or ".join(f"{s}://host[:port]" for s in schemes)))
        return value

    def optional_url(self, name: str, schemes: tuple[str, ...]) -> str:
        return self.url(name, "", schemes) if self._environ.get(name, "") else ""

    def secret(self, name: str) -> Secret:
        """From ``name`` or from the file that ``name_FILE`` names; the value itself is never part of a problem."""
        direct, path = self._environ.get(name, ""), self._environ.get(f"{name}_FILE", "")
        if direct and path:
            self.problems.append(f"{name}: set, and {name}_FILE too; allowed: one of them")
        if direct or not path:
            return Secret(direct.strip())
        try:
            return Secret(Path(path).read_text(encoding="utf-8").strip())
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is no text"
            self.problems.append(
                f"{name}_FILE: found {path!r}, which cannot be read ({reason}); allowed: a readable file"
            )
            return Secret("")


def venue_of(url: str) -> str:
    """Tell the kind of venue: ``local`` (this machine), ``real``, ``demo`` (the venue's play money) or ``other``."""
    host = (urlsplit(url).hostname or "").rstrip(".").lower()
    if host in ("localhost", "::1") or host.startswith("127."):
        return "local"
    if host.endswith(".binancefuture.com") or (host.startswith("demo-") and host.endswith(".binance.com")):
        return "demo"
    if host == "binance.com" or host.endswith((".binance.com", ".binance.us", ".binance.org")):
        return "real"
    return "other"


def _guard_money(
    venues: list[str], environ: Mapping[str, str], settings: dict[str, Json]
) -> tuple[list[str], list[str]]:
    """Problems and notices of pointing at a venue where orders cost money."""
    problems: list[str] = []
    notices: list[str] = []
    word = environ.get(REAL_MONEY, "")
    if word not in ("", "yes", "no"):
        problems.append(wrong(REAL_MONEY, word, '"yes" or "no"'))
    if "real" not in venues:
        return problems, notices
    rest_url, brokers = settings["rest_url"], settings["brokers"]
    if word != "yes":
        problems.append(
            f"PERPGUARD_REST_URL, PERPGUARD_WS_URL: found {rest_url!r} and {settings['ws_url']!r}, the real venue, "
            f"where orders cost money; allowed: another venue, or {REAL_MONEY}=yes"
        )
        return problems, notices
    role = settings["role"] if settings["role"] in ROLES else "all"
    if any(not settings[name] for name in KEYS_OF_ROLE[role]):
        needed = " and ".join(f"PERPGUARD_{name.upper()}" for name in KEYS_OF_ROLE[role])
        problems.append(f"PERPGUARD_API_KEY: role {role} needs {needed} at the real venue (or their _FILE)")
    if settings["kafka_security"] == "PLAINTEXT":
        problems.append(
            f"PERPGUARD_KAFKA_SECURITY: found 'PLAINTEXT' at {brokers!r} with keys of the real venue: whoever reaches "
            "that broker could trade; allowed: SASL_SSL with PERPGUARD_KAFKA_USERNAME and PERPGUARD_KAFKA_PASSWORD"
        )
    notices.append(
        f"REAL MONEY: orders will be sent to {rest_url} for {', '.join(settings['symbols'])}; stops are placed, moved "
        "and cancelled without asking; positions opened by hand on these symbols will be adopted"
    )
    return problems, notices


class VenueAccess(msgspec.Struct, frozen=True):
    """What the emergency tools need: the venue, its keys, and where this machine keeps its switch file."""

    rest_url: str
    ws_url: str
    api_key: Secret
    api_secret: Secret
    data_directory: Path
    venue: str


def venue_access(environ: Mapping[str, str]) -> VenueAccess:
    """
    Read the venue's part of the environment alone: a wrong configuration file or broker must not stop a kill.

    Raises:
        ConfigurationError: an address or key cannot be read, or the real venue is not allowed (PERPGUARD_REAL_MONEY).
    """
    reader = _Environment(environ)
    rest_url = reader.url("PERPGUARD_REST_URL", DEFAULT_REST_URL, ("http", "https"))
    ws_url = reader.url("PERPGUARD_WS_URL", DEFAULT_WS_URL, ("ws", "wss"))
    key, secret = reader.secret("PERPGUARD_API_KEY"), reader.secret("PERPGUARD_API_SECRET")
    venue = venue_of(rest_url)
    if venue == "local" and not key and not secret:
        key, secret = Secret(SIMULATOR_KEY), Secret(SIMULATOR_SECRET)
    if venue == "real" and environ.get(REAL_MONEY, "") != "yes":
        reader.problems.append(
            f"PERPGUARD_REST_URL: found {rest_url!r}, the real venue, where orders cost money; "
            f"allowed: another venue, or {REAL_MONEY}=yes"
        )
    if not key or not secret:
        reader.problems.append("PERPGUARD_API_KEY, PERPGUARD_API_SECRET: both are needed (or their _FILE)")
    if reader.problems:
        raise ConfigurationError(reader.problems)
    directory = Path(reader.text("PERPGUARD_DATA_DIRECTORY", "data"))
    return VenueAccess(rest_url, ws_url, key, secret, directory, venue)


def _digest(values: Mapping[str, Json]) -> str:
    canonical = json.dumps(values, sort_keys=True, separators=(",", ":")).encode()
    return blake2b(canonical, digest_size=16).hexdigest()


def _nested(values: Mapping[str, Json], section: str) -> dict[str, Json]:
    return {name: values[f"{section}.{name}"] for name in SECTIONS[section]}


def load(environ: Mapping[str, str], config_path: Path | str | None = None) -> Settings:
    """
    Read the settings from *environ* and the file *config_path* (else ``PERPGUARD_CONFIG``, else the defaults).

    Raises:
        ConfigurationError: with one line for every problem in the file and in the environment together.
    """
    values, problems = _read_file(str(config_path or environ.get("PERPGUARD_CONFIG", "") or ""))
    problems += _narrow_universe(values, environ.get("PERPGUARD_SYMBOLS", ""))
    if not problems:
        problems += contradictions(values)
    reader = _Environment(environ)
    outer = _read_environment(reader) | {"symbols": tuple(values["symbols"])}
    urls = [outer["rest_url"], outer["ws_url"], outer["order_socket_url"]]
    venues = [venue_of(url) for url in urls if url]
    if set(venues) == {"local"} and not outer["api_key"] and not outer["api_secret"]:
        outer["api_key"], outer["api_secret"] = Secret(SIMULATOR_KEY), Secret(SIMULATOR_SECRET)
    money_problems, notices = _guard_money(venues, environ, outer)
    problems += reader.problems + money_problems
    if problems:
        raise ConfigurationError(problems)
    outer |= {"venue": "real" if "real" in venues else venues[0], "notices": tuple(notices)}
    return _assemble(values, outer)


def _read_file(name: str) -> tuple[dict[str, Json], list[str]]:
    """The values by path of the file *name* (empty: the defaults), and what is wrong with it."""
    if not name:
        return defaults(), []
    try:
        return flatten(read_json(Path(name).read_text(encoding="utf-8"), name))
    except OSError as error:
        problem = f"PERPGUARD_CONFIG: found {name!r}, which cannot be read ({error.strerror}); allowed: a readable file"
    except UnicodeDecodeError as error:
        problem = f"{name}: no UTF-8 at byte {error.start}; allowed: JSON text in UTF-8"
    except ConfigurationError as error:
        return defaults(), list(error.problems)
    return defaults(), [problem]


def _narrow_universe(values: dict[str, Json], listed: str) -> list[str]:
    """Let PERPGUARD_SYMBOLS outrank the file's universe; what may be traded is what is in both."""
    symbols = [symbol.strip() for symbol in listed.split(",") if symbol.strip()]
    if not symbols:
        return []
    problems = [problem.replace("symbols:", "PERPGUARD_SYMBOLS:", 1) for problem in accept(values, "symbols", symbols)]
    tradable = values["limits.symbols"]
    if tradable is not None and not problems:
        values["limits.symbols"] = [symbol for symbol in tradable if symbol in symbols]
        if not values["limits.symbols"]:
            problems.append(
                wrong("PERPGUARD_SYMBOLS", symbols, "one at least of limits.symbols: " + ", ".join(tradable))
            )
    return problems


def _read_environment(reader: _Environment) -> dict[str, Json]:
    """Addresses, identity and secrets; ``reader.problems`` says what is wrong with them."""
    found: dict[str, Json] = {
        "brokers": reader.text(
            "PERPGUARD_BROKERS",
            "127.0.0.1:9092",
            pattern=r"[^,\s:]+:\d+(,[^,\s:]+:\d+)*",
            allowed="host:port[,host:port…]",
        ),
        "prefix": reader.text(
            "PERPGUARD_PREFIX", "perpguard.", pattern=r"[a-z0-9.-]{1,60}", allowed="small letters, digits, . and -"
        ),
        "role": reader.choice("PERPGUARD_ROLE", "all", ROLES),
        "instance": reader.text(
            "PERPGUARD_INSTANCE", "0", pattern=r"[A-Za-z0-9.-]{1,60}", allowed="letters, digits, . and -"
        ),
        "data_directory": Path(reader.text("PERPGUARD_DATA_DIRECTORY", "data")),
        "rest_url": reader.url("PERPGUARD_REST_URL", DEFAULT_REST_URL, ("http", "https")),
        "ws_url": reader.url("PERPGUARD_WS_URL", DEFAULT_WS_URL, ("ws", "wss")),
        "api_key": reader.secret("PERPGUARD_API_KEY"),
        "api_secret": reader.secret("PERPGUARD_API_SECRET"),
        "session_timeout_s": reader.integer("PERPGUARD_SESSION_TIMEOUT_S", 6, low=1, high=60),
        "metrics_port": reader.integer("PERPGUARD_METRICS_PORT", 0, low=0, high=65_535),
        "kafka_security": reader.choice("PERPGUARD_KAFKA_SECURITY", "PLAINTEXT", SECURITY_PROTOCOLS),
        "kafka_username": reader.text("PERPGUARD_KAFKA_USERNAME", ""),
        "kafka_password": reader.secret("PERPGUARD_KAFKA_PASSWORD"),
        "webhook_secret": reader.secret("PERPGUARD_WEBHOOK_SECRET"),
        "order_socket_url": reader.optional_url("PERPGUARD_ORDER_SOCKET_URL", ("ws", "wss")),
        "order_socket_key": reader.secret("PERPGUARD_ORDER_SOCKET_KEY"),
        "order_socket_private_key": reader.secret("PERPGUARD_ORDER_SOCKET_PRIVATE_KEY"),
        "plugin_directory": Path(reader.text("PERPGUARD_PLUGIN_DIRECTORY", "plugins")),
    }
    if found["webhook_secret"] and len(found["webhook_secret"].reveal()) < SHORTEST_SECRET:
        reader.problems.append(
            f"PERPGUARD_WEBHOOK_SECRET: found fewer than {SHORTEST_SECRET} characters; allowed: at least so many"
        )
    if found["order_socket_url"] and not (found["order_socket_key"] and found["order_socket_private_key"]):
        reader.problems.append(
            f"PERPGUARD_ORDER_SOCKET_URL: found {found['order_socket_url']!r} without a key; allowed: with "
            "PERPGUARD_ORDER_SOCKET_KEY and PERPGUARD_ORDER_SOCKET_PRIVATE_KEY, an Ed25519 key in PEM (or their _FILE)"
        )
    if found["kafka_security"] != "PLAINTEXT" and not (found["kafka_username"] and found["kafka_password"]):
        reader.problems.append(
            f"PERPGUARD_KAFKA_SECURITY: found {found['kafka_security']!r} without a login; allowed: with "
            "PERPGUARD_KAFKA_USERNAME and PERPGUARD_KAFKA_PASSWORD (or its _FILE)"
        )
    return found


def _assemble(values: Mapping[str, Json], outer: Mapping[str, Json]) -> Settings:
    """The settings of values that were found right."""
    digest = _digest(values)
    policy = _nested(values, "policy") | {
        "factor_publish_bps": round(values["performance.recompute_threshold"] * 10_000),
        "factors": factor_overrides(values),
        "plugins": [plugin_rows.row_of(row) for row in values["plugins"]],
    }
    streams, standing = tuple(values["data_source.ws_streams"]), defaults()
    slots, tradable = values["performance.max_positions"], values["limits.symbols"]
    return Settings(
        **outer,
        policy=msgspec.convert(policy | {"digest": digest}, Policy),
        limits=Limits(
            symbols=outer["symbols"] if tradable is None else tuple(tradable),
            max_notional_e8=E8(values["limits.max_notional_usdt"] * ONE_E8),
            max_leverage=values["limits.max_leverage"],
            max_positions=values["limits.max_positions"] or slots,
            entries_per_minute=values["limits.entries_per_minute"],
            moves_per_minute=values["limits.moves_per_minute"],
            foreign_positions=values["limits.foreign_positions"],
        ),
        data_source=DataSource(values["data_source.primary"], values["data_source.fallback"], streams),
        polling=Polling(**_nested(values, "polling")),
        cache=Cache(**_nested(values, "cache")),
        rate_limit=RateLimitConfig(**_nested(values, "rate_limit")),
        performance=Performance(**_nested(values, "performance")),
        risk=RiskRules(**_nested(values, "risk")),
        config_digest=digest,
        warnings=(
            *(f'data_source.ws_streams: "{s}" is {STREAMS[s]}' for s in streams if STREAMS[s]),
            *(f"{path}: no effect yet, {why}" for path, why in NOT_YET.items() if values[path] != standing[path]),
        ),
    )
