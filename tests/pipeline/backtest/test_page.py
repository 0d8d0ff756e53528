"""The only place for tests of the backtest's page: whole, self-contained, nothing of the data becomes markup."""

from __future__ import annotations

from html.parser import HTMLParser

from pipeline.backtest.figures import figures, together
from pipeline.backtest.page import page
from tests.pipeline.backtest.test_figures import trace

VOID = {"meta"}


class Reader(HTMLParser):
    """Counts tags and notices what is not closed or comes from elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: dict[str, int] = {}
        self.elsewhere: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """One more."""
        self.seen[tag] = self.seen.get(tag, 0) + 1
        self.elsewhere += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Closed at once."""
        self.seen[tag] = self.seen.get(tag, 0) + 1

    def handle_endtag(self, tag: str) -> None:
        """Closed."""
        assert tag == self.open.pop()


def read(text: str) -> Reader:
    """The page as a browser would take it apart."""
    reader = Reader()
    reader.feed(text)
    reader.close()
    return reader


def test_page_shows_curves_trades_and_stops() -> None:
    """Equity and price as lines, entries and exits as marks, the stop as steps, tables, one file without links."""
    reader = read(page(together([figures(trace())])))

    assert [] == reader.open
    assert [] == reader.elsewhere
    assert "script" not in reader.seen
    assert 2 == reader.seen["svg"]
    assert (2, 2) == (reader.seen["polygon"], reader.seen["circle"])
    assert 3 == reader.seen["polyline"]


def test_nothing_of_the_data_becomes_markup() -> None:
    """Names and words are escaped."""
    told = trace()
    told.market = "<script>alert(1)</script>"
    told.walls = [(5_000, "wall_pulled <b>bid</b>")]
    told.faults = ["<i>fault</i>"]
    reader = read(page(together([figures(told)])))

    assert not {"script", "b", "i"} & set(reader.seen)


def test_page_without_trades_is_a_page() -> None:
    """Nothing happened: still a whole page."""
    told = trace()
    told.trades, told.points, told.stops, told.funding, told.fees_e8 = [], [], {}, [], 0
    text = page(together([figures(told)]))

    assert [] == read(text).open
    assert "nothing to draw" in text
