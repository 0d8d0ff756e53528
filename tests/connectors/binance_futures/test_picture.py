"""The only place for the tests of the picture of a recording: what stands in which cell, and that the file is a PNG."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

from connectors.binance_futures.picture import COLUMNS, Canvas, picture, strips
from tests.connectors.binance_futures.test_recorder import DEPTH, SECOND, TRADE, Clock, depth, recorded, trade


def test_frames_holes_and_gaps_stand_in_the_cells_of_their_time(tmp_path: Path) -> None:
    """A marked hole is none of the gaps; a repeat is a frame."""
    recorder, intake = recorded(tmp_path, Clock(), hole="connector started")
    for at, frame in enumerate([depth(1, 0), depth(2, 1), depth(2, 1), depth(5, 4), trade(10)]):
        intake.frame((1_000 + at * 100) * SECOND, frame)
    recorder.close()
    found, first, cell_ns = strips(tmp_path)
    book, tape = found["BTCUSDT", DEPTH], found["BTCUSDT", TRADE]

    assert 1_000 * SECOND == first
    assert COLUMNS - 1 == 400 * SECOND // cell_ns
    assert [1, 1, 1, 1] == list(book.frames.values())
    assert ([0], [300 * SECOND // cell_ns]) == (list(book.holes), list(book.gaps))
    assert ({COLUMNS - 1: 1}, []) == (tape.frames, list(tape.gaps))


def test_the_picture_is_a_png_of_a_row_a_stream(tmp_path: Path) -> None:
    """Signature, size and as many bytes as pixels."""
    recorder, intake = recorded(tmp_path, Clock())
    intake.frame(SECOND, depth(1, 0))
    intake.frame(2 * SECOND, trade(1))
    recorder.close()
    made = picture(tmp_path)
    width, height = struct.unpack(">II", made[16:24])
    start = made.index(b"IDAT") + 4
    length = struct.unpack(">I", made[start - 8 : start - 4])[0]

    assert made.startswith(b"\x89PNG\r\n\x1a\n")
    assert height * (1 + 3 * width) == len(zlib.decompress(made[start : start + length]))


def test_a_letter_has_the_dots_of_its_row() -> None:
    """An I has a bar above, a stem and a bar below."""
    canvas = Canvas(3, 6)
    canvas.write(0, 0, "i")
    dark = [[row[x * 3] < 100 for x in range(3)] for row in canvas.rows]

    assert [[True] * 3, *[[False, True, False]] * 4, [True] * 3] == dark
