"""A Binance USDⓈ-M futures exchange in one process: pure core, aiohttp shell, markets from seeds or recordings."""
