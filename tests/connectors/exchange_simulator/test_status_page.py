"""The page shows what there is, escaped, and says where there is nothing."""

from __future__ import annotations

import httpx

from connectors.exchange_simulator.faults import FaultPlan, parse_rules
from connectors.exchange_simulator.status_page import page
from tests.connectors.exchange_simulator.venues import Bench
from tests.simulator import simulator_inside


def test_orders_positions_stops_and_faults_are_shown_escaped() -> None:
    """Each in its table; a name with markup stays text."""
    bench, faults = Bench(), FaultPlan()
    bench.market("BUY", "0.010")
    bench.limit("BUY", "0.020", "83000.00", newClientOrderId="resting")
    bench.stop("SELL", "80000.00", closePosition="true", clientAlgoId="rail")
    faults.add(parse_rules([{"action": "429", "name": "<b>x"}]))
    text = page(bench.venue, faults, [], {"source": "test"}, now_ms=bench.now)

    for words in ("Positions (1)", "Open orders (1)", "resting", "Waiting stops (1)", "rail", "&lt;b&gt;x", "TRADING"):
        assert words in text
    assert "<b>" not in text
    assert "<h2>Connections</h2><p>none</p>" in text


async def test_the_page_is_served_as_html() -> None:
    """GET /admin in a browser."""
    async with simulator_inside(begin="admin") as running, httpx.AsyncClient() as http:
        answer = await http.get(f"{running.urls()['rest']}/admin")
    assert (200, "text/html") == (answer.status_code, answer.headers["content-type"].split(";")[0])
    assert "BTCUSDT" in answer.text
