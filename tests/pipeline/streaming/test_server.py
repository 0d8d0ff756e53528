"""People and probes are told the truth: metrics, whether every partition folds, and the positions."""

from __future__ import annotations

import httpx

from pipeline.streaming.server import ViewServer


async def test_ready_follows_the_worker_and_positions_are_json() -> None:
    """503 until everything folds, then 200; rows come as the tables have them."""
    ready: list[bool] = []
    server = ViewServer(port=0, ready=lambda: bool(ready), positions=lambda: {"BTCUSDT": b'{"lots":3}'})
    await server.start()
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{server.port}") as client:
            before = await client.get("/ready")
            ready.append(True)
            after = await client.get("/ready")
            positions = await client.get("/positions")
            metrics = await client.get("/metrics")
    finally:
        await server.stop()

    assert (503, 200) == (before.status_code, after.status_code)
    assert {"BTCUSDT": {"lots": 3}} == positions.json()
    assert "perpguard_stage_seconds" in metrics.text
