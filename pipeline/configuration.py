"""
The only place for the keys of the configuration file: what each means, what is allowed, what stands when it is absent.

The keys are the design document's (section 8.2) and ours. Reading is strict: an unknown key, a wrong type, a value out
of range, a key that stands twice, two values that contradict each other. Each becomes one line that names the key path,
the value found and what is allowed, and all of them are collected before anybody gives up.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from typing import Any, Final, TypeAlias

import msgspec

from pipeline import plugin_rows
from pipeline.core.account_state import RiskRules
from pipeline.core.exits import RULES
from pipeline.core.factors import parameters
from pipeline.core.policies import Policy
from pipeline.core.units import ONE_E8

Json: TypeAlias = Any  # a parsed JSON value: its type is what this module finds out

DEFAULT_SYMBOLS: Final = ("BTCUSDT", "ETHUSDT", "SOLUSDT")
SWITCHABLE: Final = tuple(dict.fromkeys(rule.id for rule in RULES if not rule.vital))  # the others protect


class ConfigurationError(Exception):
    """The configuration cannot be used; ``problems`` holds one line for each thing that is wrong."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


Check: TypeAlias = tuple[str, Callable[[Json], bool]]  # (what is allowed, for people; the test itself)


def _is_integer(value: Json) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Json) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _integer(low: int, high: int) -> Check:
    return f"an integer from {low} to {high}", lambda value: _is_integer(value) and low <= value <= high


def _fraction(low_text: str, accepts: Callable[[float], bool]) -> Check:
    return low_text, lambda value: _is_number(value) and accepts(value)


def _one_of(*words: str) -> Check:
    return " or ".join(f'"{word}"' for word in words), lambda value: isinstance(value, str) and value in words


def _list_of(what: str, accepts: Callable[[str], bool], *, least: int = 0) -> Check:
    def test(value: Json) -> bool:
        texts = isinstance(value, list) and all(isinstance(word, str) and accepts(word) for word in value)
        return texts and len(value) >= least and len(set(value)) == len(value)

    return f"a list of different {what}", test


_BOOLEAN: Check = ("true or false", lambda value: isinstance(value, bool))
_SYMBOL: Final = re.compile(r"[A-Z0-9]{3,20}")
_SYMBOLS: Check = _list_of(
    'symbols in capitals such as "BTCUSDT", at least one', lambda s: bool(_SYMBOL.fullmatch(s)), least=1
)

# Stream name → what serves it when it is not the stream of that name ("" means: that very stream).
STREAMS: Final[Mapping[str, str]] = {
    "ticker": "served by bookTicker: the venue's ticker comes only every 2 s (domain section 2)",
    "depth20@100ms": "served by depth@100ms and a REST snapshot: 20 levels show no walls (domain section 2)",
    "kline_5m": "",
    "forceOrder": "",
    "openInterest": "served by the REST poller: the venue has no such stream (pains V10)",
    "bookTicker": "",
    "depth@100ms": "",
    "aggTrade": "",
    "markPrice@1s": "",
}
_STREAMS: Check = _list_of("names out of " + ", ".join(STREAMS), lambda s: s in STREAMS, least=1)
_EXITS: Check = _list_of(
    "exit rules out of " + ", ".join(SWITCHABLE) + " (the others protect)", lambda s: s in SWITCHABLE
)


MOST_STEPS: Final = 10


def _is_ladder(value: Json) -> bool:
    """Steps with rising distances; shares above 0 that come to the whole, the first of them at most a half."""
    keys = {"distance_permille", "share_permille"}
    if not isinstance(value, list) or len(value) > MOST_STEPS:
        return False
    if not all(isinstance(row, dict) and set(row) == keys and all(map(_is_integer, row.values())) for row in value):
        return False
    distances = [row["distance_permille"] for row in value]
    shares = [row["share_permille"] for row in value]
    rising = all(low < high for low, high in pairwise([0, *distances])) and max(distances, default=0) <= 10_000
    whole = not value or (sum(shares) == 1_000 and all(0 < share <= 500 for share in shares[:-1]) and shares[-1] > 0)
    return rising and whole and len(value) != 1


def _is_template(value: Json) -> bool:
    if not isinstance(value, dict) or not isinstance(value.get("name"), str) or not value["name"]:
        return False
    kinds: dict[str, Callable[[Json], bool]] = {
        "name": lambda name: len(name) <= 40,
        "ladder": _is_ladder,
        "disabled_exits": _EXITS[1],
        "pin_stop": _BOOLEAN[1],
        "leave_alone": _BOOLEAN[1],
    }
    return all(name in kinds and kinds[name](content) for name, content in value.items())


def _are_templates(value: Json) -> bool:
    if not isinstance(value, list) or not all(map(_is_template, value)):
        return False
    names = [row["name"] for row in value]
    return len(set(names)) == len(names)


_LADDER: Check = (
    'a list of {"distance_permille", "share_permille"}: none, or 2 to 10 steps with rising distances (1000 is the '
    "first target's), shares that come to 1000, each but the last at most 500",
    _is_ladder,
)
_TEMPLATES: Check = (
    'a list of {"name", "ladder", "disabled_exits", "pin_stop", "leave_alone"} with different names, all but the name '
    "optional",
    _are_templates,
)


class Key(msgspec.Struct, frozen=True):
    """One key of the configuration file: its path, what stands there when nothing is said, what it means."""

    path: str
    default: Json
    meaning: str
    check: Check


_UNITS: Final[Mapping[str, tuple[str, int]]] = {
    "_permille": ("per mille", 100_000),
    "_bps": ("hundredths of a percent", 10_000),
    "_ticks": ("ticks", 1_000_000),
    "_bars": ("bars of 5 minutes", 100_000),
    "_marks": ("mark prices", 1_000),
    "_days": ("days", 10_000),
    "_ms": ("milliseconds", 86_400_000),
    "_e8": ("units of 10**-8", ONE_E8),
    "_per_minute": ("a minute", 10_000),
    "_points": ("points of a score from 0 to 100", 100),
}
# Bounds of the whole account (``core.risk``) → what each means; 0 switches one off.
_RISK: Final[Mapping[str, str]] = {
    "day_loss_permille": "X3: loss of the UTC day that closes everything, of the balance at 00:00 UTC; 0: off",
    "margin_ratio_permille": "X3: maintenance margin of margin balance that closes everything; 0: off",
    "drawdown_reduced_permille": "below the highest balance: entries get reduced sizes; 0: off",
    "drawdown_close_only_permille": "below the highest balance: no entries until a resume; 0: off",
    "drawdown_halted_permille": "below the highest balance: everything is closed until a resume; 0: off",
    "reduced_size_permille": "share that reduced sizes leave",
    "heat_permille": "loss of equity if every far rail were hit at once that an entry may bring it to; 0: off",
    "heat_slippage_bps": "slippage beyond a far rail that heat counts",
    "risk_permille": "share of equity that a signal risks between its entry and its stop",
    "exposure_permille": "notional of all positions as a share of equity; 0: off",
    "correlated_exposure_permille": "notional of correlated positions of one side as a share of equity; 0: off",
    "correlated_below": "independence (factor I, 0 to 100) below which a symbol counts as correlated",
    "cool_down_bars": "bars of 5 minutes that a symbol rests after a trade (signals alone)",
    "cool_down_stop_bars": "bars of 5 minutes that a symbol rests after a stop-out (signals alone)",
    "shortlist": "symbols that the ranking of all of them chooses",
}


def _policy_keys() -> Iterator[Key]:
    """One key for every field of ``Policy`` but those that follow from others or from the file itself."""
    for field in msgspec.structs.fields(Policy):
        path, default = f"policy.{field.name}", field.default
        if field.name in _FOLLOWS:
            continue
        if field.name == "disabled_exits":
            yield Key(path, list(default), "exit rules that are switched off", _EXITS)
        elif field.name == "ladder":
            yield Key(path, [], "steps of the targets; empty: two, by first_target_share and last_target", _LADDER)
        elif field.name == "templates":
            yield Key(path, [], "named wishes for positions (ladder, rules off, pinned stop, left alone)", _TEMPLATES)
        elif isinstance(default, bool):
            yield Key(path, default, "core.policies", _BOOLEAN)
        else:
            assert _is_integer(default), f"no check for {path}"
            unit, high = next(
                (u for end, u in _UNITS.items() if field.name.endswith(end)), ("a plain number", 1_000_000_000)
            )
            yield Key(path, default, f"in {unit}", _integer(0, high))


def _risk_keys() -> Iterator[Key]:
    """One key for every bound of the account; ``worst_stop_bps`` follows from the policy."""
    for field in msgspec.structs.fields(RiskRules):
        if field.name == "worst_stop_bps":
            continue
        high = 100 if field.name in ("correlated_below", "shortlist") else 100_000
        yield Key(f"risk.{field.name}", field.default, _RISK[field.name], _integer(0, high))


# Fields of Policy that follow from other keys.
_FOLLOWS: Final = ("digest", "factor_publish_bps", "factors", "plugins")


def _factor_keys() -> Iterator[Key]:
    """One key for every parameter of the factors; their weights and order are checked together (``contradictions``)."""
    for path, default in parameters.standing().items():
        if path == "serve_ms":
            continue  # cache.factor_cache_ttl_sec says it
        if isinstance(default, int):
            yield Key(f"factors.{path}", default, "core.factors", _integer(1, 1_000_000_000))
        else:
            allowed = _fraction("a number from -1000000000 to 1000000000", lambda x: -1e9 <= x <= 1e9)
            yield Key(f"factors.{path}", default, "core.factors", allowed)


def factor_overrides(values: Mapping[str, Json]) -> parameters.Overrides:
    """The parameters of the factors that differ from their defaults, as the policy carries them."""
    known = parameters.standing()
    wanted = {path: values[f"factors.{path}"] for path in known if path != "serve_ms"}
    wanted["serve_ms"] = values["cache.factor_cache_ttl_sec"] * 1_000
    return tuple((path, float(value)) for path, value in wanted.items() if value != known[path])


KEYS: Final[tuple[Key, ...]] = (
    Key("data_source.primary", "websocket", "where market data come from", _one_of("websocket")),
    Key("data_source.fallback", "rest_api", "what is asked while a stream is down", _one_of("rest_api")),
    Key(
        "data_source.ws_streams",
        ["ticker", "depth20@100ms", "kline_5m", "forceOrder", "openInterest"],
        "streams wanted for each symbol, in the design document's names",
        _STREAMS,
    ),
    Key("polling.enabled", False, "poll REST even while the sockets live", _BOOLEAN),
    Key(
        "polling.fallback_interval_sec",
        5,
        "seconds between polls of a position while its user stream is down (prices: 5)",
        _integer(1, 3_600),
    ),
    Key("cache.enabled", True, "keep computed factors", _BOOLEAN),
    Key("cache.factor_cache_ttl_sec", 60, "longest life of a factor value", _integer(1, 86_400)),
    Key("cache.data_cache_ttl_sec", 300, "longest life of polled data", _integer(1, 86_400)),
    Key("rate_limit.rest_api_per_minute", 60, "REST requests a minute of the lanes entry and data", _integer(1, 2_400)),
    Key(
        "rate_limit.safety_margin",
        0.25,
        "largest share of the venue's weight for the lanes entry and data",
        _fraction("a number above 0 and at most 1", lambda x: 0 < x <= 1),
    ),
    Key("rate_limit.daily_budget", 10_000, "REST requests a day of the lanes entry and data", _integer(1, 3_000_000)),
    Key("performance.max_positions", 5, "slots: open positions and pending entries together", _integer(1, 50)),
    Key("performance.target_latency_ms", 200, "what reports compare frame → wire with", _integer(1, 60_000)),
    Key(
        "performance.recompute_threshold",
        0.001,
        "share of price that must move before factors are published again without a closed bar",
        _fraction("a number from 0 to below 1", lambda x: 0 <= x < 1),
    ),
    Key("symbols", list(DEFAULT_SYMBOLS), "the universe; PERPGUARD_SYMBOLS outranks it", _SYMBOLS),
    Key("limits.symbols", None, "symbols that may be traded at all; null: the universe", _SYMBOLS),
    Key("limits.max_notional_usdt", 10_000, "largest notional of one position in USDT", _integer(5, 10_000_000)),
    Key("limits.max_leverage", 5, "largest leverage", _integer(1, 20)),
    Key(
        "limits.max_positions",
        None,
        "largest number of open positions; null: performance.max_positions",
        _integer(1, 50),
    ),
    Key("limits.entries_per_minute", 10, "entries a minute over all symbols", _integer(1, 600)),
    Key("limits.moves_per_minute", 30, "mere stop moves a minute over all symbols (domain 6.4)", _integer(1, 1_200)),
    Key(
        "limits.foreign_positions",
        "restore",
        "when the owner of a position not opened here takes its last stop away: put one back, leave it, or alarm too",
        _one_of("restore", "respect", "alert"),
    ),
    *_risk_keys(),
    *_policy_keys(),
    *_factor_keys(),
    Key("plugins", [], "plug-ins of the owner", (plugin_rows.WORDS, lambda value: not plugin_rows.problems(value))),
)

# Accepted because the design document has them, without effect in this version: `perpguard config check` says so.
NOT_YET: Final[Mapping[str, str]] = {
    "polling.enabled": "no poller runs beside living sockets",
    "cache.enabled": "a factor computed again has the same value: nothing depends on it",
    "cache.data_cache_ttl_sec": "each kind of data has its own age (factors.ages)",
}

_BY_PATH: Final[Mapping[str, Key]] = {key.path: key for key in KEYS}
SECTIONS: Final[Mapping[str, tuple[str, ...]]] = {
    section: tuple(k.path.partition(".")[2] for k in KEYS if k.path.startswith(f"{section}."))
    for section in dict.fromkeys(k.path.partition(".")[0] for k in KEYS if "." in k.path)
}
_TOP: Final[tuple[str, ...]] = tuple(dict.fromkeys(k.path.partition(".")[0] for k in KEYS))


def defaults() -> dict[str, Json]:
    """The configuration that stands when there is no file, path → value."""
    return {key.path: key.default for key in KEYS}


# ------------------------------------------------------------------------------------------------ reading the file


def show(value: Json) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else text[:77] + "…"


def _unknown(path: str, value: Json, allowed: tuple[str, ...]) -> str:
    name = path.rpartition(".")[2]
    near = difflib.get_close_matches(name, allowed, n=1)
    hint = f'; did you mean "{near[0]}"?' if near else ""
    return f"{path}: found {show(value)}, but there is no such key; allowed here: {', '.join(allowed)}{hint}"


def wrong(path: str, value: Json, allowed: str) -> str:
    return f"{path}: found {show(value)}; allowed: {allowed}"


def read_json(text: str, name: str) -> Json:
    twice: list[str] = []

    def pairs(items: list[tuple[str, Json]]) -> dict[str, Json]:
        names = [key for key, _ in items]
        twice.extend(key for key in dict.fromkeys(names) if names.count(key) > 1)
        return dict(items)

    def constant(word: str) -> Json:
        raise ConfigurationError([f"{name}: found {word}; allowed: numbers as JSON knows them"])

    try:
        document = json.loads(text, object_pairs_hook=pairs, parse_constant=constant)
    except json.JSONDecodeError as error:
        line = text.splitlines()[error.lineno - 1].strip() if text.strip() else ""
        comment = " (comments are not allowed)" if "//" in line or "#" in line else ""
        problem = f"{name}: no JSON at line {error.lineno} column {error.colno}: {error.msg}; found {line!r}{comment}"
        raise ConfigurationError([problem]) from error
    if twice:
        raise ConfigurationError([f"{name}: the key {show(key)} stands there twice; allowed: once" for key in twice])
    return document


def flatten(document: Json) -> tuple[dict[str, Json], list[str]]:
    """Check a parsed document against ``KEYS``; returns the effective values by path and every problem found."""
    values, problems = defaults(), []
    if not isinstance(document, dict):
        return values, [wrong("the file", document, "an object with the keys " + ", ".join(_TOP))]
    for name, body in document.items():
        if name in _BY_PATH:
            problems += accept(values, name, body)
        elif name not in SECTIONS:
            problems.append(_unknown(name, body, _TOP))
        elif not isinstance(body, dict):
            problems.append(wrong(name, body, "an object with the keys " + ", ".join(SECTIONS[name])))
        else:
            for inner, value in body.items():
                path = f"{name}.{inner}"
                problems += accept(values, path, value) if path in _BY_PATH else [_unknown(path, value, SECTIONS[name])]
    return values, problems


def accept(values: dict[str, Json], path: str, value: Json) -> list[str]:
    key = _BY_PATH[path]
    if path == "plugins" and (problems := plugin_rows.problems(value)):
        return problems
    allowed, accepts = key.check
    if accepts(value) or (value is None and key.default is None):
        values[path] = value
        return []
    return [wrong(path, value, allowed + (" or null" if key.default is None else ""))]


# (path, relation, other path): pairs that must stand in an order, or a rule contradicts itself.
_ORDERS: Final = (
    ("policy.stop_atr_min_permille", "policy.stop_atr_permille"),
    ("policy.stop_atr_permille", "policy.stop_atr_max_permille"),
    ("policy.stop_min_bps", "policy.stop_max_bps"),
    ("policy.breakeven_at_r_permille", "policy.chandelier_from_r_permille"),
    ("policy.time_limit_bars", "policy.time_limit_absolute_bars"),
    ("policy.time_limit_new_coin_bars", "policy.time_limit_bars"),
    ("policy.x8_points", "policy.x8_strong_points"),
    ("policy.x11_liquidity_points", "policy.x11_rearm_points"),
    ("performance.max_positions", "limits.max_positions"),
    ("policy.signal_watch_points", "policy.signal_prime_points"),
    ("risk.drawdown_reduced_permille", "risk.drawdown_close_only_permille"),
    ("risk.drawdown_close_only_permille", "risk.drawdown_halted_permille"),
    ("risk.cool_down_bars", "risk.cool_down_stop_bars"),
)
# path → least value: below it the rule would turn into its opposite.
_LEAST: Final = {
    "policy.far_rail_permille": (1_001, "the far rail lies beyond the working stop"),
    "policy.last_target_permille": (1_001, "the last target lies beyond the first"),
    "policy.stop_min_ticks": (1, "a stop needs a distance"),
    "policy.ratchet_per_minute": (1, "a stop must be able to move"),
    "policy.factor_turns_per_tick": (1, "a symbol without a position must have its turn"),
}


def contradictions(values: Mapping[str, Json]) -> list[str]:
    problems = [
        f"{low}: found {values[low]}; allowed: at most {high} ({values[high]})"
        for low, high in _ORDERS
        if low in values and high in values and values[high] is not None and values[low] > values[high]
    ]
    problems += [
        f"{path}: found {values[path]}; allowed: at least {least}, because {why}"
        for path, (least, why) in _LEAST.items()
        if path in values and values[path] < least
    ]
    if not 0 < values["policy.first_target_share_permille"] <= 500:
        found = values["policy.first_target_share_permille"]
        problems.append(
            f"policy.first_target_share_permille: found {found}; allowed: 1 to 500, because a resting target of more "
            "than half the position can make the venue refuse a market close (−4118, domain 6.7)"
        )
    problems += [
        f"factors: found {problem}; allowed: weights that sum, numbers above 0, thresholds in their order"
        for problem in parameters.problems(parameters.parameters_of(factor_overrides(values)))
    ]
    outside = [s for s in values["limits.symbols"] or () if s not in values["symbols"]]
    if outside:
        problems.append(wrong("limits.symbols", outside, "symbols of the universe: " + ", ".join(values["symbols"])))
    return problems


def nested(values: Mapping[str, Json]) -> dict[str, Json]:
    """The document of *values* by path, in the table's order: what a file with every key says."""
    document: dict[str, Json] = {}
    for key in KEYS:
        section, dot, name = key.path.partition(".")
        if dot:
            document.setdefault(section, {})[name] = values[key.path]
        else:
            document[section] = values[key.path]
    return document


def reference() -> str:
    """The table of all keys as Markdown (``docs/configuration.md`` is this text; a test holds them equal)."""
    rows = [
        "# The configuration file",
        "",
        "Generated from `pipeline/configuration.py` by `perpguard config keys`. Strict JSON; every key may be left "
        "out. Check a file with `perpguard config check FILE`.",
        "",
        "| key | default | meaning | allowed |",
        "|---|---|---|---|",
    ]
    for key in KEYS:
        meaning = key.meaning + (f" (no effect yet: {NOT_YET[key.path]})" if key.path in NOT_YET else "")
        rows.append(f"| `{key.path}` | `{json.dumps(key.default)}` | {meaning} | {key.check[0]} |")
    return "\n".join(rows) + "\n"
