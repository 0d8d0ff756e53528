"""The only place for tests of identities: they fit the venue, differ, and are recognised again."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.events import Leg
from pipeline.core.identity import (
    MAX_CLIENT_ID,
    base62,
    cause,
    client_id,
    intent_of,
    leg_of,
    output_id,
    symbol_tag,
    well_formed,
)

VENUE = re.compile(r"^[.A-Z:/a-z0-9_-]{1,36}$")  # venue sheet 6.2

NAMES = (
    "BTC ETH SOL BNB XRP ADA DOGE AVAX LINK LTC BCH DOT UNI ATOM ETC FIL APT ARB OP SUI SEI TIA INJ NEAR AAVE MKR CRV "
    "LDO RUNE FTM GALA SAND MANA AXS CHZ ENJ GMT APE DYDX IMX STX RNDR FET AGIX OCEAN WLD PEPE SHIB FLOKI BONK ORDI "
    "1000SATS JTO PYTH JUP STRK DYM ALT MANTA ZETA PIXEL PORTAL AEVO ETHFI ENA W TNSR SAGA TAO OMNI REZ NOT IO ZK "
    "LISTA ZRO BANANA RENDER TON DOGS POL NEIRO HMSTR CATI EIGEN SCR GOAT MOODENG PNUT ACT DRIFT SWELL"
)
SYMBOLS = [f"{name}USDT" for name in NAMES.split()]


@given(
    partition=st.integers(0, 61),
    offset=st.integers(0, 62**8 - 1),
    line=st.integers(0, 499),
    ordinal=st.integers(0, 61),
    leg=st.sampled_from(Leg),
    attempt=st.integers(0, 61),
)
def test_client_ids_fit_the_venue_and_tell_their_intent_and_leg(
    *, partition: int, offset: int, line: int, ordinal: int, leg: Leg, attempt: int
) -> None:
    """Every id fits the venue's alphabet and length; intent and leg are read back from it."""
    intent = output_id(
        log_identity="aB3dE6g", partition=partition, offset=offset, line=line, tag="zzzz", ordinal=ordinal
    )
    name = client_id(intent=intent, leg=leg, attempt=attempt)

    assert VENUE.match(name)
    assert len(name) <= MAX_CLIENT_ID
    assert (intent, leg) == (intent_of(name), leg_of(name))


@given(st.integers(0, 7), st.integers(0, 10**12), st.integers(0, 499), st.integers(0, 9))
def test_another_place_has_another_id(partition: int, offset: int, line: int, ordinal: int) -> None:
    """Partition is one character, so places never run into one another."""

    def name(offset: int, line: int, ordinal: int) -> str:
        return output_id(
            log_identity="aB3dE6g", partition=partition, offset=offset, line=line, tag="abcd", ordinal=ordinal
        )

    places = {(offset, line, ordinal), (offset + 1, line, ordinal), (offset, line + 1, ordinal), (offset, line, 9)}
    assert len(places) == len({name(*place) for place in places})


@pytest.mark.parametrize(
    "client",
    ["web_abc", "autoclose-123", "adl_autoclose", "a.b.c.d-x0", "a.b.c.d", "a.b.c-e0", "a.b.c.d-e", "", "a.b.c.d.e-e0"],
)
def test_foreign_ids_are_not_ours(client: str) -> None:
    """Ids of people, of the venue's own closes and of other bots have no intent."""
    assert intent_of(client) is None


@given(st.integers(0, 7), st.integers(0, 10**12), st.integers(0, 499), st.integers(0, 99))
def test_every_output_id_is_well_formed(partition: int, offset: int, line: int, ordinal: int) -> None:
    """What the fold names, the executor takes."""
    name = output_id(log_identity="aB3dE6g", partition=partition, offset=offset, line=line, tag="abcd", ordinal=ordinal)
    assert well_formed(name)


@pytest.mark.parametrize(
    "name", ["", "x" * 40, "a.b.c", "a.b.c.d.e", "a.b.c.d-e1", "a.b.c.d e", "a.b.c.d\n", "ä.b.c.d"]
)
def test_what_no_client_id_can_be_made_of_is_not_well_formed(name: str) -> None:
    """Too long, not of the shape, or with characters that the venue does not take."""
    assert not well_formed(name)


def test_tags_tell_the_symbols_of_one_line_apart() -> None:
    """No two symbols of a real universe share a tag."""
    assert len(SYMBOLS) == len({symbol_tag(symbol) for symbol in SYMBOLS})


def test_base62_counts_and_causes_are_written_plainly() -> None:
    """The digits are 0–9 A–Z a–z; a cause is partition/offset/line."""
    assert ["0", "z", "10", "47"] == [base62(number) for number in (0, 61, 62, 4 * 62 + 7)]
    assert "3/17/2" == cause(partition=3, offset=17, line=2)
