"""The only place for the backtest's HTML: one file that needs nothing beside it, drawn as SVG, no scripts."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from html import escape
from typing import Any, Final, TypeAlias

Json: TypeAlias = Any  # figures of ``figures.together``

WIDTH: Final = 1_080
HEIGHT: Final = 260
MARGIN: Final = 8
STYLE: Final = """
body{font:14px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:1100px;padding:0 1rem;color:#1b1f24;background:#fff}
h1{font-size:1.4rem}h2{font-size:1.15rem;margin-top:2.2rem}table{border-collapse:collapse;margin:.6rem 0}
td,th{padding:.15rem .7rem;text-align:right;border-bottom:1px solid #e2e5e9}
td:first-child,th:first-child{text-align:left}
svg{width:100%;height:auto;background:#fafbfc;border:1px solid #e2e5e9}.bad{color:#b3261e}.good{color:#1a7f37}
.price{stroke:#57606a;fill:none}.equity{stroke:#0969da;fill:none;stroke-width:1.5}.stop{stroke:#b3261e;fill:none}
.long{fill:#1a7f37}.short{fill:#8250df}.out{fill:none;stroke:#1b1f24;stroke-width:1.5}.small{color:#57606a;font-size:12px}
"""


def page(report: Json) -> str:
    """The report as one HTML document."""
    sums = report["sums"]
    body = [
        f"<h1>Backtest: {len(report['symbols'])} symbols, {sums['trades']} trades</h1>",
        _table(
            ["", "realised", "fees", "funding", "net", "won"],
            [
                ["sum (USDT)", *_amounts(sums), f"{sums['won']} of {sums['trades']}"],
                *(
                    [
                        row["symbol"],
                        *_amounts(row["sums"]),
                        f"{row['sums']['won']} of {row['sums']['trades']}",
                    ]
                    for row in report["symbols"]
                ),
            ],
        ),
        "<p class=small>Each symbol had an account of its own. Past prices say nothing about coming ones.</p>",
    ]
    for row in report["symbols"]:
        body += _symbol(row)
    return (
        "<!doctype html><html lang=en><meta charset=utf-8><title>perpguard backtest</title>"
        f"<style>{STYLE}</style><body>{''.join(body)}</body></html>\n"
    )


def _symbol(row: Json) -> list[str]:
    proof = row["proof"]
    words = (
        "<span class=good>folded twice from the raw log: equal</span>"
        if proof["folded_twice_equal"]
        else f"<span class=bad>folded twice: NOT equal: {escape(proof['first_difference'])}</span>"
    )
    body = [
        f"<h2>{escape(row['symbol'])} · {escape(row['market'])} · {row['hours']:g} h</h2>",
        f"<p>{words}; {proof['lines']:,} lines, {proof['decisions']:,} decisions, chain <code>{proof['chain']}</code>; "
        f"longest time without a stop {row['longest_naked_ms']} ms</p>",
        *(f"<p class=bad>{escape(fault)}</p>" for fault in row["faults"]),
        "<h3>Equity (USDT)</h3>",
        _chart([(row["equity"], "equity")], []),
        "<h3>Price, trades and stops</h3>",
        _chart(
            [(row["prices"], "price"), *((_steps(t["stops"], t["closed_ms"]), "stop") for t in row["trades"])],
            [mark for trade in row["trades"] for mark in _marks(trade)],
        ),
        "<p class=small>▲ long, ▼ short, ○ exit, red: the tightest stop that rested on the exchange.</p>",
        "<h3>What ended the trades</h3>",
        _table(
            ["rule", "trades", "won", "realised", "fees", "mean minutes"],
            [
                [
                    rule, str(one["trades"]), str(one["won"]), _money(one["realised"]), f"{one['fees']:.2f}",
                    f"{one['mean_minutes']:g}",
                ]
                for rule, one in row["reasons"].items()
            ],
        ),
        "<h3>Trades</h3>",
        _table(
            ["opened", "side", "quantity", "entry", "exit", "R", "realised", "fees", "stop moves", "rule", "ended"],
            [
                [
                    _moment(t["opened_ms"]), t["side"], f"{t['quantity']:g}", f"{t['entry']:g}", f"{t['exit']:g}",
                    "" if t["r"] is None else f"{t['r']:.2f}", _money(t["realised"]), f"{t['fees']:.2f}",
                    str(t["stop_moves"]), t["reason"], t["outcome"],
                ]
                for t in row["trades"]
            ],
        ),
    ]  # fmt: skip
    if row["walls"]:
        body += [
            "<h3>Walls</h3>",
            _table(["when", "what"], [[_moment(at), words] for at, words in row["walls"]]),
        ]
    body += ["<p class=small>Made up, because the data does not tell:</p><ul class=small>"]
    body += [f"<li>{escape(line)}</li>" for line in row["assumed"]]
    return [*body, "</ul>"]


def _steps(stops: Sequence[Sequence[float]], until_ms: int) -> list[list[float]]:
    """A stop as a line of steps."""
    line: list[list[float]] = []
    for at, level in stops:
        if line:
            line.append([at, line[-1][1]])
        line.append([at, level])
    if line:
        line.append([until_ms, line[-1][1]])
    return line


def _marks(trade: Json) -> list[tuple[float, float, str, str]]:
    kind = trade["side"]
    return [
        (trade["opened_ms"], trade["entry"], kind, f"{kind} {trade['quantity']:g} at {trade['entry']:g}"),
        (trade["closed_ms"], trade["exit"], "out", f"{trade['reason']} at {trade['exit']:g}: {trade['outcome']}"),
    ]


def _chart(
    lines: Sequence[tuple[Sequence[Sequence[float]], str]], marks: Sequence[tuple[float, float, str, str]]
) -> str:
    """Lines and marks over time; the axes are told by two labels each."""
    points = [point for line, _ in lines for point in line] + [(mark[0], mark[1]) for mark in marks]
    if not points:
        return "<p class=small>nothing to draw</p>"
    times, values = [point[0] for point in points], [point[1] for point in points]
    left, right, low, high = min(times), max(times), min(values), max(values)
    wide, tall = max(right - left, 1), max(high - low, 1e-12)

    def place(at: float, value: float) -> tuple[float, float]:
        x = MARGIN + (at - left) / wide * (WIDTH - 2 * MARGIN)
        y = HEIGHT - MARGIN - (value - low) / tall * (HEIGHT - 2 * MARGIN)
        return round(x, 1), round(y, 1)

    drawn = []
    for line, kind in lines:
        if line:
            path = " ".join(f"{x},{y}" for x, y in (place(at, value) for at, value in line))
            drawn.append(f'<polyline class="{kind}" points="{path}"/>')
    for at, value, kind, title in marks:
        x, y = place(at, value)
        tip = f"<title>{escape(title)}</title>"
        if kind == "out":
            drawn.append(f'<circle class="out" cx="{x}" cy="{y}" r="5">{tip}</circle>')
        else:
            up = -1 if kind == "long" else 1
            corners = f"{x},{y + 7 * up} {x - 6},{y - 5 * up} {x + 6},{y - 5 * up}"
            drawn.append(f'<polygon class="{kind}" points="{corners}">{tip}</polygon>')
    labels = (
        f'<text x="{MARGIN}" y="14" font-size="11">{high:g}</text>'
        f'<text x="{MARGIN}" y="{HEIGHT - 4}" font-size="11">{low:g} · {_moment(int(left))}</text>'
        f'<text x="{WIDTH - MARGIN}" y="{HEIGHT - 4}" font-size="11" text-anchor="end">{_moment(int(right))}</text>'
    )
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img">{"".join(drawn)}{labels}</svg>'


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    titles = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    lines = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><tr>{titles}</tr>{lines}</table>"


def _amounts(sums: Json) -> list[str]:
    """Fees are what was paid; the rest has a sign."""
    return [_money(sums["realised"]), f"{sums['fees']:.2f}", _money(sums["funding"]), _money(sums["net"])]


def _money(value: float) -> str:
    return f"{value:+.2f}"


def _moment(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1_000, UTC).strftime("%Y-%m-%d %H:%M:%S")
