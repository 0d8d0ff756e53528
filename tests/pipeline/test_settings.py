"""The only place for tests of the settings: environment, file, secrets, and the guard before real money."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import msgspec
import pytest

from connectors.exchange_simulator.signing import DEFAULT_KEY, DEFAULT_SECRET
from pipeline.configuration import ConfigurationError
from pipeline.core.units import ONE_E8
from pipeline.settings import Secret, load, venue_of

REAL = {
    "PERPGUARD_REST_URL": "https://fapi.binance.com",
    "PERPGUARD_WS_URL": "wss://fstream.binance.com",
    "PERPGUARD_API_KEY": "key",
    "PERPGUARD_API_SECRET": "hidden-text",
}


def problems_of(environ: dict[str, str], path: Path | None = None) -> tuple[str, ...]:
    """What ``load`` finds wrong."""
    with pytest.raises(ConfigurationError) as caught:
        load(environ, path)
    return caught.value.problems


def test_nothing_said_means_the_simulator_here() -> None:
    """Without environment and file the venue is a simulator on this machine, and the limits are the domain's."""
    settings = load({})

    assert settings.venue == "local"
    assert (settings.limits.max_notional_e8, settings.limits.max_leverage) == (10_000 * ONE_E8, 5)
    assert settings.limits.symbols == settings.symbols
    assert settings.limits.max_positions == settings.performance.max_positions == 5
    assert settings.notices == ()


def test_only_a_venue_on_this_machine_has_a_key_by_itself() -> None:
    """The simulator's well-known key is used when nothing is said; a named key and any other venue are left alone."""
    assert (DEFAULT_KEY, DEFAULT_SECRET) == (load({}).api_key.reveal(), load({}).api_secret.reveal())
    named = load({"PERPGUARD_API_KEY": "mine"})
    assert ("mine", "") == (named.api_key.reveal(), named.api_secret.reveal())
    elsewhere = {"PERPGUARD_REST_URL": "http://simulator:1", "PERPGUARD_WS_URL": "ws://simulator:1"}
    assert not load(elsewhere).api_key


def test_the_configuration_has_one_digest() -> None:
    """The digest names the effective values: equal for no file and the default file, other for another value."""
    root = Path(__file__).parents[2]
    default = load({})

    assert load({}, root / "config" / "optimized_execution.json").config_digest == default.config_digest
    assert default.policy.digest == default.config_digest
    assert load({"PERPGUARD_SYMBOLS": "BTCUSDT"}).config_digest != default.config_digest


def test_open_interest_stream_is_accepted_with_a_warning() -> None:
    """The design document's openInterest stream is served by the poller, and a warning says so."""
    assert [w for w in load({}).warnings if '"openInterest"' in w and "REST poller" in w]


def test_file_and_environment_problems_come_together(tmp_path: Path) -> None:
    """A wrong file and a wrong variable are answered in one go."""
    path = tmp_path / "c.json"
    path.write_text(json.dumps({"rate_limit": {"daily_budget": -1}}))

    found = problems_of({"PERPGUARD_ROLE": "boss", "PERPGUARD_SYMBOLS": "BTCUSDT,eth"}, path)

    assert [problem.split(":")[0] for problem in found] == [
        "rate_limit.daily_budget",
        "PERPGUARD_SYMBOLS",
        "PERPGUARD_ROLE",
    ]


def test_what_may_be_traded_never_grows_by_the_environment(tmp_path: Path) -> None:
    """PERPGUARD_SYMBOLS narrows limits.symbols to what is in both, and an empty rest is refused, not everything."""
    path = tmp_path / "c.json"
    path.write_text(json.dumps({"symbols": ["BTCUSDT", "ETHUSDT"], "limits": {"symbols": ["BTCUSDT"]}}))

    assert ("BTCUSDT",) == load({"PERPGUARD_SYMBOLS": "ETHUSDT,BTCUSDT"}, path).limits.symbols
    assert "one at least of limits.symbols: BTCUSDT" in problems_of({"PERPGUARD_SYMBOLS": "ETHUSDT"}, path)[0]


def test_an_authenticated_broker_needs_a_login() -> None:
    """A security protocol without user and password is refused before anything connects."""
    assert "without a login" in problems_of({"PERPGUARD_KAFKA_SECURITY": "SASL_SSL"})[0]


def test_a_missing_file_is_one_line(tmp_path: Path) -> None:
    """A file that is not there is named with the system's reason."""
    assert "No such file" in problems_of({}, tmp_path / "none.json")[0]


def test_secrets_never_show(tmp_path: Path) -> None:
    """A secret shows in no repr, text, JSON, pickle and problem; a file may hold it."""
    path = tmp_path / "secret"
    path.write_text("hidden-text\n")
    settings = load({"PERPGUARD_API_SECRET_FILE": str(path)})

    assert settings.api_secret.reveal() == "hidden-text"
    assert "hidden-text" not in repr(settings)
    assert "hidden-text" not in f"{settings.api_secret}"
    with pytest.raises(TypeError):
        msgspec.json.encode(settings)
    with pytest.raises(TypeError):
        pickle.dumps(Secret("hidden-text"))
    both = problems_of({"PERPGUARD_API_SECRET_FILE": str(path), "PERPGUARD_API_SECRET": "hidden-text"})
    assert "hidden-text" not in "".join(both)


@pytest.mark.parametrize(
    ("url", "venue"),
    [
        ("http://127.0.0.1:18080", "local"),
        ("http://localhost:1", "local"),
        ("https://fapi.binance.com", "real"),
        ("wss://FSTREAM.BINANCE.COM/ws", "real"),
        ("https://fapi.binance.com.:443", "real"),
        ("https://demo-fapi.binance.com", "demo"),
        ("https://testnet.binancefuture.com", "demo"),
        ("http://simulator:8080", "other"),
        ("http://binance.com.example.org", "other"),
    ],
)
def test_the_venue_is_told_by_its_host(url: str, venue: str) -> None:
    """The host alone says whether orders cost money."""
    assert venue_of(url) == venue


def test_the_real_venue_needs_three_things() -> None:
    """Real orders need the words, the keys and an authenticated broker; then a notice says what will happen."""
    secured = {
        "PERPGUARD_KAFKA_SECURITY": "SASL_SSL",
        "PERPGUARD_KAFKA_USERNAME": "user",
        "PERPGUARD_KAFKA_PASSWORD": "word",
    }

    assert "PERPGUARD_REAL_MONEY=yes" in problems_of(REAL | secured)[0]
    assert "PERPGUARD_KAFKA_SECURITY" in problems_of(REAL | {"PERPGUARD_REAL_MONEY": "yes"})[0]
    without_secret = REAL | secured | {"PERPGUARD_REAL_MONEY": "yes", "PERPGUARD_API_SECRET": ""}
    assert "PERPGUARD_API_SECRET" in problems_of(without_secret)[0]
    without_key = REAL | secured | {"PERPGUARD_REAL_MONEY": "yes", "PERPGUARD_API_KEY": ""}
    assert "PERPGUARD_API_KEY" in problems_of(without_key)[0]

    settings = load(REAL | secured | {"PERPGUARD_REAL_MONEY": "yes"})
    assert settings.venue == "real"
    assert settings.notices[0].startswith("REAL MONEY: orders will be sent to https://fapi.binance.com")


@pytest.mark.parametrize("role", ["connector", "decide", "account"])
def test_only_who_sends_orders_needs_the_secret(role: str) -> None:
    """The connector runs at the real venue with the key alone, decide and account with neither."""
    environ = REAL | {
        "PERPGUARD_REAL_MONEY": "yes",
        "PERPGUARD_KAFKA_SECURITY": "SASL_SSL",
        "PERPGUARD_KAFKA_USERNAME": "user",
        "PERPGUARD_KAFKA_PASSWORD": "word",
        "PERPGUARD_ROLE": role,
        "PERPGUARD_API_SECRET": "",
    }

    assert role == load(environ).role
    if role == "connector":
        assert "role connector needs PERPGUARD_API_KEY at" in problems_of(environ | {"PERPGUARD_API_KEY": ""})[0]


def test_one_real_address_is_enough_to_be_refused() -> None:
    """A local REST with the venue's real streams, or the reverse, is the real venue."""
    assert "real venue" in problems_of({"PERPGUARD_REST_URL": "https://fapi.binance.com"})[0]


def test_an_order_socket_needs_a_key_of_its_own() -> None:
    """Without it the venue would refuse the logon; without the address no key is asked for."""
    assert "" == load({}).order_socket_url
    with pytest.raises(ConfigurationError, match="PERPGUARD_ORDER_SOCKET_KEY"):
        load({"PERPGUARD_ORDER_SOCKET_URL": "ws://127.0.0.1:1"})
    found = load(
        {
            "PERPGUARD_ORDER_SOCKET_URL": "ws://127.0.0.1:1/",
            "PERPGUARD_ORDER_SOCKET_KEY": "k",
            "PERPGUARD_ORDER_SOCKET_PRIVATE_KEY": "p",
        }
    )

    assert ("ws://127.0.0.1:1", "local") == (found.order_socket_url, found.venue)
    assert "p" not in repr(found.order_socket_private_key).replace("Secret", "")


def test_the_real_venue_behind_the_order_socket_alone_is_real_money() -> None:
    """Whatever REST points at."""
    with pytest.raises(ConfigurationError, match="PERPGUARD_REAL_MONEY"):
        load(
            {
                "PERPGUARD_ORDER_SOCKET_URL": "wss://ws-fapi.binance.com",
                "PERPGUARD_ORDER_SOCKET_KEY": "k",
                "PERPGUARD_ORDER_SOCKET_PRIVATE_KEY": "p",
            }
        )
