"""
The only place that draws a recording: one row a stream, time from left to right, as a PNG without any library.

Each row has its stream's name and a strip of cells: the darker the blue, the more frames (of that stream's own most);
grey: none; red: a hole is marked there; orange: the venue's ids have a gap that nothing marks. Seconds of the whole and
of a cell stand above.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections import defaultdict
from pathlib import Path
from typing import Final

import msgspec

from connectors.binance_futures.recorder import follow, line_files, stream_name, whole_lines
from pipeline.wire import lines

COLUMNS: Final = 240
CELL: Final = 3  # pixels
ROW: Final = 9
NAME_LETTERS: Final = 30
LETTER: Final = 4
MARGIN: Final = 4
MOST_ROWS: Final = 1_200  # 200 symbols of five streams, and what is all-market
WHITE, BLACK, GREY, RED, ORANGE = (255, 255, 255), (30, 30, 30), (225, 225, 225), (214, 39, 40), (255, 150, 20)
Colour = tuple[int, int, int]
_FRAME_AT: Final = re.compile(rb'^\{"at":(\d+),')

# Three by six dots a letter, a row of three bits each, top row first.
_DOTS: Final = {
    "A": "757755", "B": "656656", "C": "344443", "D": "655556", "E": "746447", "F": "746444", "G": "345553",
    "H": "557755", "I": "722227", "J": "111152", "K": "556655", "L": "444447", "M": "577555", "N": "577775",
    "O": "255552", "P": "656444", "Q": "255573", "R": "656655", "S": "342116", "T": "722222", "U": "555557",
    "V": "555522", "W": "555775", "X": "552255", "Y": "552222", "Z": "712447", "0": "255552", "1": "262227",
    "2": "612447", "3": "612116", "4": "557111", "5": "746116", "6": "346552", "7": "711222", "8": "252552",
    "9": "253116", "@": "257743", "_": "000007", "!": "222202", ".": "000002", " ": "000000", "-": "007000",
}  # fmt: skip


class Strip(msgspec.Struct):
    """What is drawn of one stream: frames, holes and gaps by cell."""

    frames: dict[int, int]
    holes: dict[int, None]
    gaps: dict[int, None]


def strips(directory: Path) -> tuple[dict[tuple[str, str], Strip], int, int]:
    """Per (symbol, stream) what the recording has in each cell; first receive time and nanoseconds of a cell."""
    first, last = _span(directory)
    cell_ns = max(1, -(-(last - first + 1) // COLUMNS))
    found: dict[tuple[str, str], Strip] = defaultdict(lambda: Strip({}, {}, {}))
    ids: dict[tuple[str, str], int] = {}
    marked: set[tuple[str, str]] = set()
    for path in line_files(directory):
        for raw in whole_lines(path, []):
            line = lines.decode(raw)
            cell = (line.at - first) // cell_ns
            if line.lost is not None:
                key = (line.sym, line.lost.stream)
                found[key].holes[cell] = None
                marked.add(key)
                continue
            frame = bytes(line.frame)
            name = stream_name(frame)
            if not name:
                continue
            key = (line.sym, name)
            strip = found[key]
            strip.frames[cell] = strip.frames.get(cell, 0) + 1
            if follow(frame, key, ids, marked) == "gap":
                strip.gaps[cell] = None
    return {key: found[key] for key in sorted(found)}, first, cell_ns


def _span(directory: Path) -> tuple[int, int]:
    first = last = 0
    for path in line_files(directory):
        for raw in whole_lines(path, []):
            at = _FRAME_AT.match(raw)
            if at is not None:
                number = int(at[1])
                first, last = min(first, number) if first else number, max(last, number)
    return first, last


def picture(directory: Path) -> bytes:
    """The recording in *directory* as the bytes of a PNG."""
    found, _, cell_ns = strips(directory)
    shown = dict(list(found.items())[:MOST_ROWS])
    left = MARGIN + NAME_LETTERS * LETTER
    canvas = Canvas(left + COLUMNS * CELL + MARGIN, 2 * MARGIN + ROW * (len(shown) + 1))
    seconds = cell_ns * COLUMNS / 1e9
    more = f" {len(found) - len(shown)} STREAMS NOT SHOWN" if len(found) > len(shown) else ""
    canvas.write(left, MARGIN, f"{seconds:.1f} S FROM LEFT TO RIGHT {cell_ns / 1e9:.3f} S A CELL{more}")
    for number, ((symbol, name), strip) in enumerate(shown.items(), start=1):
        top = MARGIN + ROW * number
        own = name if name.lower().startswith(symbol.lower()) else f"{name} {symbol}"
        canvas.write(MARGIN, top, own[: NAME_LETTERS - 1])
        most = max(strip.frames.values(), default=1)
        for cell in range(COLUMNS):
            canvas.fill(left + cell * CELL, top, CELL, ROW - 2, _colour(strip, cell, most))
    return canvas.png()


def _colour(strip: Strip, cell: int, most: int) -> Colour:
    if cell in strip.gaps:
        return ORANGE
    if cell in strip.holes:
        return RED
    count = strip.frames.get(cell, 0)
    if not count:
        return GREY
    light = 190 - 190 * count // most
    return (light, light + 30, 220)


class Canvas:
    """Pixels, and the few things that are drawn."""

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self.rows = [bytearray(bytes(WHITE) * width) for _ in range(height)]

    def fill(self, left: int, top: int, width: int, height: int, colour: Colour) -> None:
        """A rectangle."""
        for row in self.rows[top : top + height]:
            row[left * 3 : (left + width) * 3] = bytes(colour) * width

    def write(self, left: int, top: int, text: str) -> None:
        """Small capitals; what has no dots stays empty."""
        for place, letter in enumerate(text.upper()):
            for down, bits in enumerate(_DOTS.get(letter, _DOTS[" "])):
                for across in range(3):
                    if int(bits) >> (2 - across) & 1:
                        self.fill(left + place * LETTER + across, top + down, 1, 1, BLACK)

    def png(self) -> bytes:
        """As a file (RFC 2083): true colour, eight bits, no filter."""
        head = struct.pack(">IIBBBBB", self.width, self.height, 8, 2, 0, 0, 0)
        body = zlib.compress(b"".join(b"\0" + bytes(row) for row in self.rows), 6)
        return b"\x89PNG\r\n\x1a\n" + b"".join(
            _chunk(name, data) for name, data in ((b"IHDR", head), (b"IDAT", body), (b"IEND", b""))
        )


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
