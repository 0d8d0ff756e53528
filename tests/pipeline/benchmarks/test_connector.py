"""The only place for the tests of the connector's benchmark: its feed is legal, its result has the schema."""

from __future__ import annotations

import json

from connectors.binance_futures.intake import fault_of
from connectors.binance_futures.routing import stream_of
from connectors.binance_futures.subscriptions import plan
from pipeline.benchmarks.connector import BLOB_FRAMES, MIX, _figure, _payload, framed, loopback_p50_us, mixed


def test_the_feed_sends_every_stream_in_frames_that_the_connector_takes() -> None:
    """All kinds but the all-market ones, each stream at least once, in the venue's combined form."""
    for group in plan([f"S{number:03}USDT" for number in range(500)]):
        order = mixed(list(group.streams), seed=1)
        assert {stream for stream in group.streams if stream[0] != "!"} == set(order)
        assert BLOB_FRAMES == len(order)
        for stream in order[:30]:
            frame = b'{"stream":"%b","data":%b}' % (stream.encode(), _payload(stream, 7))
            assert ("", stream.encode()) == (fault_of(frame), stream_of(frame))
            assert stream.partition("@")[0].upper() == json.loads(frame)["data"]["s"]
            assert stream.partition("@")[2] in MIX


def test_frames_are_whole_websocket_messages() -> None:
    """Short and long lengths as the protocol writes them."""
    assert b"\x81\x03abc" == framed(b"abc")
    assert b"\x81\x7e\x01\x00" == framed(b"x" * 256)[:4]


def test_figures_are_medians_with_their_runs() -> None:
    """Architecture section 7: value, unit, must, aim, runs."""
    assert {"value": 2, "unit": "ms", "must": None, "aim": 1.0, "runs": [3, 1, 2]} == _figure(
        [3, 1, 2], "ms", None, 1.0
    )
    assert loopback_p50_us(20) > 0
