"""Looks at the simulated account with unmodified ccxt and prints positions, orders and conditional orders as JSON."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

from tests.clients.drive_ccxt import SYMBOL, exchange


async def look(rest: str, ws: str) -> dict[str, Any]:
    """What ccxt says of the symbol."""
    client = exchange(rest, ws)
    try:
        await client.load_markets()
        positions = await client.fetch_positions([SYMBOL])
        orders = await client.fetch_open_orders(SYMBOL)
        stops = await client.fetch_open_orders(SYMBOL, params={"trigger": True})
        return {
            "positions": [[row["side"], row["contracts"]] for row in positions],
            "orders": [[row["side"], row["amount"], row["reduceOnly"]] for row in orders],
            "stops": sorted([row["side"], row["triggerPrice"], row["info"]["closePosition"]] for row in stops),
        }
    finally:
        await client.close()


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asyncio.run(look(sys.argv[1], sys.argv[2]))) + "\n")
