"""Errors: every code of the venue sheet has a meaning, and what is unknown is in doubt."""

from __future__ import annotations

import pytest

from pipeline.binance.errors import (
    CODES,
    Classified,
    Fatal,
    NoAnswer,
    NotWritten,
    Reaction,
    VenueFailure,
    classify,
    stop_until,
)

# Venue sheet 5.4, column "Code", ranges written out; a code missing from the table would be "unknown" and alerted.
SHEET = [
    *(-1000, -1001, -1002, -1003, -1006, -1007, -1008, -1010, -1013, -1014, -1015, -1016, -1020, -1021, -1022, -1023),
    *(-1099, -1100, -1101, -1102, -1103, -1104, -1105, -1106, -1108, -1109, -1110, -1111, -1112, -1114, -1115, -1116),
    *(-1117, -1118, -1119, -1120, -1121, -1122, -1125, -1127, -1128, -1130, -1136),
    *(-2010, -2011, -2012, -2013, -2014, -2015, -2017, -2018, -2019, -2020, -2021, -2022, -2023, -2024, -2025, -2026),
    *(-2027, -2028, -4000, -4001, -4002, -4013, -4014, -4003, -4004, -4005, -4023, -4006, -4007, -4210, -4211, -4015),
    *(-4016, -4024, -4131, -4021, -4028, -4031, -4032, -4045, -4046, -4059, -4171, -4047, -4048, -4067, -4068, -4161),
    *(-4167, -4168, -4169, -4170, -4172, -4050, -4051, -4054, -4055, -4060, -4061, -4062, -4082, -4083, -4087, -4088),
    *(-4109, -4116, -4117, -4118, -4120, -4130, -4135, -4137, -4138, -4140, -4141, -4142, -4164, -4183, -4184, -4192),
    *(-4202, -4203, -4204, -4205, -4206, -4207, -4208, -4209, -4402, -4403, -4400, -4401, -4405, -4407, -4517, -4518),
    *(-4519, -4531, -5021, -5022, -5024, -5025, -5026, -5027, -5028, -5029, -5037, -5038, -5039, -5040, -5041, -5043),
]


def body(code: int, message: str = "") -> bytes:
    """The venue's error object."""
    return b'{"code":%d,"msg":"%s"}' % (code, message.encode())


@pytest.mark.parametrize("code", SHEET)
def test_every_code_of_the_sheet_has_a_row(code: int) -> None:
    """No code the sheet lists is unknown to the executor."""
    assert classify(400, body(code)).known


@pytest.mark.parametrize(
    ("status", "text", "reaction"),
    [
        (503, body(0, "Unknown error, please check your request or try again later."), Reaction.IN_DOUBT),
        (503, body(-1000, "Unknown error, please check your request or try again later."), Reaction.IN_DOUBT),
        (503, b"Service Unavailable.", Reaction.NOT_EXECUTED),
        (503, body(-1000, "Service Unavailable."), Reaction.NOT_EXECUTED),
        (503, b"<html><h1>503 Service Unavailable</h1></html>", Reaction.IN_DOUBT),
        (503, body(-1001, "Internal error; unable to process your request. Please try again."), Reaction.NOT_EXECUTED),
        (
            503,
            body(-1008, "Request throttled by system-level protection. Reduce-only/close-position orders are exempt."),
            Reaction.NOT_EXECUTED,
        ),
        (500, body(0, "Request occur unknown error."), Reaction.IN_DOUBT),
        (408, body(-1007, "Timeout waiting for response from backend server."), Reaction.IN_DOUBT),
        (403, b"<html>WAF</html>", Reaction.PAUSE),
        (401, body(-2015, "Invalid API-key, IP, or permissions for action."), Reaction.FATAL),
        (401, b"", Reaction.FATAL),
        (429, body(-1003, "Too many requests; current limit is 2400 requests per minute."), Reaction.STOP_ALL),
        (429, b"", Reaction.STOP_ALL),
        (429, body(-1015, "Too many new orders; current limit is 300 orders per 10 SECOND."), Reaction.STOP_ORDERS),
        (418, body(-1003, "Way too many requests; IP banned until 1790771372000."), Reaction.STOP_ALL),
        (400, body(-2010, "Duplicate order sent."), Reaction.ALREADY_EXISTS),
        (503, body(-1016, "This service is no longer available."), Reaction.PAUSE),
        (200, b'{"algoId":2146760,"clientAlgoId":"x","code":"200","msg":"success"}', Reaction.ACCEPTED),
        (200, b'{"code":200,"msg":"done"}', Reaction.ACCEPTED),
        (200, b"[]", Reaction.ACCEPTED),
        (200, b'{"code":-1016,"msg":"maintenance"}', Reaction.PAUSE),
        (502, b"<html>bad gateway</html>", Reaction.IN_DOUBT),
    ],
)
def test_status_code_and_text_decide_together(status: int, text: bytes, reaction: Reaction) -> None:
    """HTTP 503 has four meanings (venue sheet 5.3); only status, code and text together tell."""
    assert reaction is classify(status, text).reaction


def test_an_unknown_code_is_in_doubt_and_says_so() -> None:
    """A code nobody knows proves nothing: it is in doubt and marked for an alert."""
    assert Classified(Reaction.IN_DOUBT, -9999, "new", known=False) == classify(400, body(-9999, "new"))


def test_no_rejection_hides_a_possible_execution() -> None:
    """The codes that leave the execution open are exactly those the sheet names."""
    assert {-1000, -1006, -1007, -2012, -4000, -4083} == {
        code for code, reaction in CODES.items() if reaction is Reaction.IN_DOUBT
    }


def test_a_ban_ends_when_the_text_says() -> None:
    """418 names its end in the venue's clock."""
    until = stop_until(
        now_ms=1_790_771_300_000,
        status=418,
        message="IP banned until 1790771372000. Please",
        retry_after="5",
        server_ahead_ms=1_270,
    )
    assert 1_790_771_372_000 - 1_270 == until


@pytest.mark.parametrize(
    ("status", "message", "retry_after", "lasts"),
    [
        (429, "", "7", 7_000),
        (429, "", "0", 1_000),
        (429, "", "9" * 40, 3 * 86_400_000),
        (418, "IP banned until 9999999999999.", None, 3 * 86_400_000),
        (429, "Too many new orders; current limit is 300 orders per 10 SECOND.", None, 10_000),
        (429, "current limit is 1200 orders per 1 MINUTE.", None, 60_000),
        (429, "", None, 60_000),
        (418, "", None, 120_000),
    ],
)
def test_how_long_to_stop(status: int, message: str, retry_after: str | None, lasts: int) -> None:
    """Retry-After, else the interval in the text, else the whole window."""
    until = stop_until(now_ms=5, status=status, message=message, retry_after=retry_after)

    assert 5 + lasts == until


def test_the_tree_says_what_may_be_tried_again() -> None:
    """Only what provably did not reach the venue is retriable without evidence."""
    assert [False, True, False, False] == [kind.retriable for kind in (VenueFailure, NotWritten, NoAnswer, Fatal)]
