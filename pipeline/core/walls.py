"""
The only place for order-book walls: which levels of the local book stand like a wall, and how a wall ends (domain 6.5).

Once a second of log time the book is summed into price buckets and each side is judged::

    1 buckets    width = max(tick, 3 / 5 / 10 bps of mid) for ATR(1h) < 1 % / < 3 % / more; whole buckets within ±2 %
    2 baseline   median and MAD of ln(1 + N) over the buckets from the third on, smoothed with tau 60 s
    3 candidate  z = (ln(1 + N) − med) / (1.4826·MAD + 0.1) >= 3, and
                 N >= max(5·median, 5·own notional, 0.0002·24h quote volume)
    4 confirmed  candidate with >= 60 % of its peak in >= 12 of the last 15 samples, for >= 15 s, and once it stood
                 more than 3 bps from the touch
    5 ended      half of it gone within 2 s: EATEN if trades at its prices are >= 60 % of the loss, else PULLED;
                 two PULLED within 60 s: FLICKER, ignored 300 s; EATEN and back at >= 80 % within 5 s: ICEBERG
    6 strength   min(1, z/6)·min(1, age/60 s)·(1 − pulls/(pulls + 2)), + 0.2 for an ICEBERG; neighbours make one band

Readings of ours where the text leaves room:

* The grid is absolute (bucket = price // width) and its width is kept until the wanted one differs by a quarter, so
  that a wall keeps its bucket, and with it its identity, while the price moves.
* Trades and depth come over different sockets: a loss that trades do not explain yet waits one sample for them before
  it is PULLED, and trades of the sample before count, so that the order of two sockets gives one verdict.
* Confirmation is a latch: a price that comes back to a confirmed wall does not unmake it. It ends with its verdict, or
  when it is seen in fewer than 8 of 15 samples (faded: no verdict).
* Beyond the edge of the snapshot an empty bucket is unknown, not empty: it does not enter the baseline. ``coverage``
  tells how much of ±2 % is known; depth20 gives a book with a near edge, and its coverage says what it is worth.

Sums are ticks × lots, exact; ln and z are estimates that leave as whole thousandths before anything compares them.
"""

from __future__ import annotations

from bisect import bisect_left
from operator import mul
from typing import Final

from pipeline.core.book import Book
from pipeline.core.events import Level, Side, Trade
from pipeline.core.numerics import decay, exp, ln
from pipeline.core.wall_state import SECOND_MS, TRADE_SLOTS, Band, Ending, Track, WallSide, WallState, WallVerdict

RANGE_PERCENT: Final = 2
WIDTHS: Final = ((10_000, 3), (30_000, 5))  # (ATR(1h) below this many millionths of the price, bps)
WIDEST_BPS: Final = 10
UNKNOWN_ATR_BPS: Final = 5
KEEP_WIDTH_PERCENT: Final = 25
SKIPPED_BUCKETS: Final = 2
LEAST_BUCKETS: Final = 5  # fewer give no baseline
TAU_MS: Final = 60_000
NORMAL_MAD: Final = 1.4826
Z_FLOOR: Final = 0.1
CANDIDATE_Z: Final = 3_000
TIMES_MEDIAN: Final = 5
TIMES_OWN: Final = 5
DAY_SHARE: Final = (2, 10_000)
WINDOW: Final = 15
WINDOW_BITS: Final = (1 << WINDOW) - 1
CONFIRMED_SEEN: Final = 12
FADED_SEEN: Final = 8
CONFIRM_MS: Final = 15_000
PEAK_PERCENT: Final = 60
TOUCH_BPS: Final = 3
LOSS_SECONDS: Final = 2
TRADED_PERCENT: Final = 60
FLICKER_MS: Final = 60_000
IGNORED_MS: Final = 300_000
REFILL_MS: Final = 5_000
REFILL_PERCENT: Final = 80
KEEP_IDS_MS: Final = 10_000
FULL_Z: Final = 6_000
FULL_AGE_MS: Final = 60_000
ICEBERG_BONUS: Final = 200
ENDINGS_KEPT: Final = 32
ENDINGS_MS: Final = 120_000


def book_of_top(bids: list[Level], asks: list[Level]) -> Book:
    """A book of a partial-depth frame (depth20): its edges are its last levels, so that coverage tells the truth."""
    book = Book()
    book.bids = {price: lots for price, lots in bids if lots}
    book.asks = {price: lots for price, lots in asks if lots}
    book.bid_prices = sorted(book.bids)
    book.ask_prices = sorted(book.asks)
    book.known_bid = book.bid_prices[0] if book.bid_prices else 0
    book.known_ask = book.ask_prices[-1] if book.ask_prices else 0
    return book


def on_trade(walls: WallState, trade: Trade) -> None:
    """Count a trade against the wall at its price: the aggressor says which side of the book it ate."""
    if walls.width:
        side = walls.bids if trade.seller_aggressed else walls.asks
        track = side.tracks.get(trade.price // walls.width)
        if track is not None:
            track.traded[0] += trade.price * trade.lots


def wanted_width(*, twice_mid: int, atr_1h_e8: int, tick_e8: int) -> int:
    """Bucket width in ticks (domain 6.5 rule 1); *atr_1h_e8* 0: not known."""
    return max(1, twice_mid * _width_bps(twice_mid, atr_1h_e8, tick_e8) // 20_000)


def keeps_width(width: int, *, twice_mid: int, atr_1h_e8: int, tick_e8: int) -> bool:
    """
    True while the wanted width, before it is rounded down to ticks, is within a quarter of what gives *width*.

    Rounded widths would not do: on a coarse grid one tick more is 100 %, and a price that plays around the bound would
    begin every wall anew each second.
    """
    wanted = twice_mid * _width_bps(twice_mid, atr_1h_e8, tick_e8)
    return (width == 1 or wanted * 100 >= width * 20_000 * (100 - KEEP_WIDTH_PERCENT)) and (
        wanted * 100 < (width + 1) * 20_000 * (100 + KEEP_WIDTH_PERCENT)
    )


def _width_bps(twice_mid: int, atr_1h_e8: int, tick_e8: int) -> int:
    if not atr_1h_e8:
        return UNKNOWN_ATR_BPS
    share = atr_1h_e8 * 2_000_000 // (twice_mid * tick_e8)
    return next((bps for below, bps in WIDTHS if share < below), WIDEST_BPS)


def sample(
    walls: WallState, book: Book, *, now_ms: int, atr_1h_e8: int, own_lots: int, day_quote_e8: int
) -> list[Ending]:
    """
    Judge the book once; returns what ended, or came back, with this sample.

    *own_lots* is the size of our position, *day_quote_e8* the quote volume of 24 hours in USDT (0: not known). A book
    without both sides gives no sample.
    """
    if not book.bid_prices or not book.ask_prices:
        return []
    twice_mid = book.best_bid + book.best_ask
    tick_e8 = walls.tick_e8
    if not walls.width or not keeps_width(walls.width, twice_mid=twice_mid, atr_1h_e8=atr_1h_e8, tick_e8=tick_e8):
        _regrid(walls, wanted_width(twice_mid=twice_mid, atr_1h_e8=atr_1h_e8, tick_e8=tick_e8))
    if book.resyncs != walls.resyncs:
        for side in (walls.bids, walls.asks):
            _clear_ages(side, walls.sampled_ms)
        walls.resyncs = book.resyncs
    least = max(
        TIMES_OWN * own_lots * twice_mid // 2,
        day_quote_e8 * DAY_SHARE[0] * 100_000_000 // (DAY_SHARE[1] * walls.tick_e8 * walls.step_e8),
        1,
    )
    ended: list[Ending] = []
    for which in (Side.BUY, Side.SELL):
        _sample_side(walls, book, which, now_ms=now_ms, twice_mid=twice_mid, least=least, ended=ended)
    walls.sampled_ms = now_ms
    walls.endings = [e for e in walls.endings if now_ms - e.at_ms < ENDINGS_MS][-ENDINGS_KEPT:]
    walls.bands = [*_bands(walls, Side.BUY, now_ms=now_ms), *_bands(walls, Side.SELL, now_ms=now_ms)]
    return ended


def watch_price(walls: WallState, *, price_e8: int, margin_ticks: int, now_ms: int) -> None:
    """Note since when the price stands *margin_ticks* beyond each wall that was eaten (X12)."""
    for ending in walls.endings:
        if ending.verdict is not WallVerdict.EATEN:
            continue
        beyond = (
            price_e8 <= (ending.low - margin_ticks) * walls.tick_e8
            if ending.side is Side.BUY
            else price_e8 >= (ending.high + margin_ticks) * walls.tick_e8
        )
        if not beyond:
            ending.beyond_ms = 0
        elif not ending.beyond_ms:
            ending.beyond_ms = now_ms


def bucket_sums(levels: dict[int, int], prices: list[int], *, width: int, first: int, last: int) -> list[int]:
    """Ticks × lots of each bucket from *first* to *last*, both included; *prices* are the sorted keys of *levels*."""
    sums = []
    start = bisect_left(prices, first * width)
    for bucket in range(first, last + 1):
        end = bisect_left(prices, (bucket + 1) * width, start)
        part = prices[start:end]
        sums.append(sum(map(mul, part, map(levels.__getitem__, part))))
        start = end
    return sums


def median(values: list[float]) -> float:
    """Middle of sorted *values*, the mean of the two middle ones of an even count."""
    half = len(values) // 2
    return values[half] if len(values) % 2 else (values[half - 1] + values[half]) / 2.0


def _sample_side(
    walls: WallState, book: Book, side: Side, *, now_ms: int, twice_mid: int, least: int, ended: list[Ending]
) -> None:
    kept, width = walls.side(side), walls.width
    if side is Side.BUY:
        nearest, farthest = book.best_bid // width, -(-twice_mid * (100 - RANGE_PERCENT) // 200) // width
        sums = bucket_sums(book.bids, book.bid_prices, width=width, first=farthest, last=nearest)
        sums.reverse()
        known = (book.known_bid + width - 1) // width if book.known_bid else nearest
    else:
        nearest, farthest = book.best_ask // width, twice_mid * (100 + RANGE_PERCENT) // 200 // width
        sums = bucket_sums(book.asks, book.ask_prices, width=width, first=nearest, last=farthest)
        known = (book.known_ask + 1) // width - 1 if book.known_ask else nearest
    step = -side.sign  # buckets lead away from the touch
    known_count = (known - nearest) * step + 1
    weighed = [n for i, n in enumerate(sums) if n or i < known_count]
    kept.coverage_permille = len(weighed) * 1_000 // len(sums) if sums else 0
    usdt = walls.tick_e8 * walls.step_e8 / 1e16
    ready = _baseline(
        kept, [n for i, n in enumerate(sums) if i >= SKIPPED_BUCKETS and (n or i < known_count)], usdt, now_ms
    )
    if ready:
        least = max(least, int(TIMES_MEDIAN * (exp(kept.median) - 1.0) / usdt))
        for i, n in enumerate(sums):
            if n >= least and _score(kept, n, usdt) >= CANDIDATE_Z:
                bucket = nearest + i * step
                track = kept.tracks.get(bucket)
                if track is None:
                    kept.tracks[bucket] = Track(id=walls.next_id, since_ms=now_ms)
                    walls.next_id += 1
                elif not track.since_ms:
                    track.since_ms = now_ms
                    if now_ms > track.keep_until_ms:
                        track.id = walls.next_id
                        walls.next_id += 1
    touch = book.best_bid if side is Side.BUY else book.best_ask
    for bucket in list(kept.tracks):
        track = kept.tracks[bucket]
        i = (bucket - nearest) * step
        n = 0 if i < 0 else sums[i] if i < len(sums) else -1
        edge = bucket * width + (width - 1 if side is Side.BUY else 0)
        far_enough = (touch - edge) * side.sign * 20_000 > TOUCH_BPS * twice_mid
        if ready and n >= 0:
            score = _score(kept, n, usdt)
            track.score = score
            _observe(track, n, candidate=n >= least and score >= CANDIDATE_Z, now_ms=now_ms, far_enough=far_enough)
        verdict = _judge(track, n, second=now_ms // SECOND_MS - walls.sampled_ms // SECOND_MS, now_ms=now_ms)
        if verdict is not None:
            ending = _end(walls, track, side, bucket, verdict, now_ms=now_ms)
            ended.append(ending)
        _shift(track, n)
        if _over(track, now_ms=now_ms):
            del kept.tracks[bucket]


def _baseline(kept: WallSide, sums: list[int], usdt: float, now_ms: int) -> bool:
    """Smooth median and MAD of this sample into the baseline; False while there is none."""
    if len(sums) >= LEAST_BUCKETS:
        logs = [ln(1.0 + n * usdt) if n else 0.0 for n in sums]
        logs.sort()
        middle = median(logs)
        spread = median(sorted([x - middle if x >= middle else middle - x for x in logs]))
        if kept.baseline_ms:
            weight = 1.0 - decay(now_ms - kept.baseline_ms, TAU_MS)
            kept.median += weight * (middle - kept.median)
            kept.deviation += weight * (spread - kept.deviation)
        else:
            kept.median, kept.deviation = middle, spread
        kept.baseline_ms = now_ms
    return kept.baseline_ms > 0


def _score(kept: WallSide, n: int, usdt: float) -> int:
    """z in whole thousandths, towards zero."""
    return int((ln(1.0 + n * usdt) - kept.median) / (NORMAL_MAD * kept.deviation + Z_FLOOR) * 1_000.0)


def _observe(track: Track, n: int, *, candidate: bool, now_ms: int, far_enough: bool) -> None:
    """Rule 4: presence, peak, the latch of confirmation."""
    if not track.since_ms or track.eaten_ms:
        return
    track.peak = max(track.peak, n)
    whole = n * 100 >= PEAK_PERCENT * track.peak
    track.seen = (track.seen << 1 | (candidate and whole)) & WINDOW_BITS
    count = track.seen.bit_count()
    if track.confirmed_ms:
        if count < FADED_SEEN:
            track.confirmed_ms = 0
    elif (
        whole
        and far_enough
        and count >= CONFIRMED_SEEN
        and now_ms - track.since_ms >= CONFIRM_MS
        and now_ms >= track.ignored_until_ms
    ):
        track.confirmed_ms = now_ms


def _judge(track: Track, n: int, *, second: int, now_ms: int) -> WallVerdict | None:
    """Rule 5, for a bucket in sight (n >= 0)."""
    if n < 0:
        track.loss = 0
        return None
    if track.eaten_ms:
        if n * 100 >= REFILL_PERCENT * track.eaten_of and now_ms - track.eaten_ms <= REFILL_MS:
            return WallVerdict.ICEBERG
        return None
    traded = sum(track.traded)
    if track.loss:
        return WallVerdict.EATEN if traded * 100 >= TRADED_PERCENT * track.loss else WallVerdict.PULLED
    base = max(track.last if second <= LOSS_SECONDS else -1, track.before if second < LOSS_SECONDS else -1)
    if not track.since_ms or not track.seen or base <= 0 or 2 * n > base:
        return None
    track.loss, track.eaten_of = base - n, base
    return WallVerdict.EATEN if traded * 100 >= TRADED_PERCENT * track.loss else None


def _end(walls: WallState, track: Track, side: Side, bucket: int, verdict: WallVerdict, *, now_ms: int) -> Ending:
    """Take the verdict into the track and into the endings."""
    confirmed = track.confirmed_ms > 0
    track.loss = 0
    if verdict is WallVerdict.ICEBERG:
        walls.endings = [e for e in walls.endings if e.id != track.id or e.verdict is not WallVerdict.EATEN]
        track.eaten_ms, track.iceberg = 0, True
    elif verdict is WallVerdict.EATEN:
        track.eaten_ms = now_ms
    else:
        if track.pulled_ms and now_ms - track.pulled_ms <= FLICKER_MS:
            verdict = WallVerdict.FLICKER
            track.ignored_until_ms = now_ms + IGNORED_MS
        track.pulls += 1
        track.pulled_ms = now_ms
        _end_life(track)
    ending = Ending(
        id=track.id,
        side=side,
        low=bucket * walls.width,
        high=bucket * walls.width + walls.width - 1,
        verdict=verdict,
        at_ms=now_ms,
        confirmed=confirmed,
    )
    if confirmed:  # only those can have been leant on; candidates come and go by the dozen
        walls.endings.append(ending)
    return ending


def _shift(track: Track, n: int) -> None:
    """One sample later; a bucket out of sight (n < 0) has none."""
    track.before, track.last = track.last if track.since_ms else -1, n if track.since_ms else -1
    if n < 0:
        track.before = -1
        track.seen = track.seen << 1 & WINDOW_BITS
    track.traded.insert(0, 0)
    del track.traded[TRADE_SLOTS:]


def _over(track: Track, *, now_ms: int) -> bool:
    """True when nothing about the bucket needs remembering any more."""
    if track.eaten_ms:
        alive = now_ms - track.eaten_ms <= REFILL_MS
    else:
        alive = track.since_ms > 0 and (track.seen > 0 or track.loss > 0)
    if alive:
        return False
    _end_life(track)
    remembered = track.pulled_ms and now_ms - track.pulled_ms <= FLICKER_MS
    return not remembered and now_ms >= track.ignored_until_ms and now_ms > track.keep_until_ms


def _end_life(track: Track) -> None:
    """The wall is not there any more; pulls, ban and the id to come back with are kept."""
    track.since_ms = track.peak = track.seen = track.confirmed_ms = track.loss = track.eaten_ms = 0
    track.last = track.before = -1
    track.iceberg = False


def _clear_ages(side: WallSide, sampled_ms: int) -> None:
    """The book was lost: whatever happened meanwhile is unknown, so nothing of it is judged (ids live on for 10 s)."""
    for track in side.tracks.values():
        if track.since_ms and not track.eaten_ms:
            track.keep_until_ms = sampled_ms + KEEP_IDS_MS
        _end_life(track)
    side.baseline_ms = 0


def _regrid(walls: WallState, width: int) -> None:
    """Another width: the walls begin anew in new buckets, as after a resync; of two in one bucket the older stays."""
    for side in (walls.bids, walls.asks):
        moved: dict[int, Track] = {}
        for bucket, track in side.tracks.items():
            moved.setdefault((bucket * walls.width + walls.width // 2) // width, track)
        side.tracks = moved
        _clear_ages(side, walls.sampled_ms)
    walls.width = width


def _strength(track: Track, *, now_ms: int) -> int:
    """Rule 6, in thousandths."""
    share = min(1_000, track.score * 1_000 // FULL_Z)
    aged = share * min(FULL_AGE_MS, now_ms - track.since_ms) // FULL_AGE_MS
    return min(1_000, max(0, aged * 2 // (track.pulls + 2)) + (ICEBERG_BONUS if track.iceberg else 0))


def _bands(walls: WallState, side: Side, *, now_ms: int) -> list[Band]:
    """Confirmed walls of a side, the nearest first."""
    kept, width = walls.side(side), walls.width
    confirmed = sorted(
        bucket
        for bucket, track in kept.tracks.items()
        if track.confirmed_ms and not track.eaten_ms and not track.loss and now_ms >= track.ignored_until_ms
    )
    runs: list[list[int]] = []
    for bucket in confirmed:
        if runs and runs[-1][-1] == bucket - 1:
            runs[-1].append(bucket)
        else:
            runs.append([bucket])
    if side is Side.BUY:
        runs.reverse()
    bands = []
    for run in runs:
        tracks = [kept.tracks[bucket] for bucket in run]
        bands.append(
            Band(
                id=tracks[0 if side is Side.BUY else -1].id,
                side=side,
                low=run[0] * width,
                high=run[-1] * width + width - 1,
                size=sum(track.last for track in tracks),
                strength_permille=max(_strength(track, now_ms=now_ms) for track in tracks),
                since_ms=min(track.since_ms for track in tracks),
                confirmed_ms=min(track.confirmed_ms for track in tracks),
                iceberg=any(track.iceberg for track in tracks),
            )
        )
    return bands
