"""The edges towards a venue: the Binance connector, and an exchange simulated for tests and the demo."""
