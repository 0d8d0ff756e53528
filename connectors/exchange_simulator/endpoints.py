"""The route table of the simulated REST interface: method and path → weight, security, handler (sheet 4)."""

from __future__ import annotations

from typing import Any, Final

from connectors.exchange_simulator import account_endpoints as account
from connectors.exchange_simulator import algo_endpoints as algo
from connectors.exchange_simulator import market_endpoints as market
from connectors.exchange_simulator import order_endpoints as order
from connectors.exchange_simulator import settings_endpoints as setting
from connectors.exchange_simulator.errors import VenueError
from connectors.exchange_simulator.parameters import Params
from connectors.exchange_simulator.venue import Endpoint, Venue

Json = Any  # the venue's JSON: objects, arrays and scalars


def _all_costs(one: int, every: int) -> Any:  # Any: weight function
    return lambda params: one if "symbol" in params else every


def _not_simulated(venue: Venue, params: Params, now_ms: int) -> Json:
    """Paths the venue has and this cut has not: a plain refusal, never silence or a made-up value."""
    raise VenueError(-1020, message="not simulated: this path")


NOT_SIMULATED: Final = (
    "GET /fapi/v1/rpiDepth", "GET /fapi/v1/symbolAdlRisk", "GET /fapi/v1/constituents", "GET /fapi/v1/assetIndex",
    "GET /fapi/v1/indexInfo", "GET /fapi/v1/tradingSchedule", "GET /futures/data/basis",
    "GET /fapi/v1/positionMargin/history",
)  # fmt: skip
_SIGNED: Final = "SIGNED"
ROUTES: Final[dict[tuple[str, str], Endpoint]] = {
    ("GET", "/fapi/v1/ping"): Endpoint(market.ping),
    ("GET", "/fapi/v1/time"): Endpoint(market.server_time),
    # Of the spot host: python-binance asks these two before anything else.
    ("GET", "/api/v3/ping"): Endpoint(market.ping),
    ("GET", "/api/v3/time"): Endpoint(market.server_time),
    ("GET", "/fapi/v1/exchangeInfo"): Endpoint(market.exchange_info),
    ("GET", "/fapi/v1/depth"): Endpoint(market.depth, market.depth_weight),
    ("GET", "/fapi/v1/klines"): Endpoint(market.klines, market.klines_weight),
    ("GET", "/fapi/v1/premiumIndex"): Endpoint(market.premium_index, _all_costs(1, 10)),
    ("GET", "/fapi/v1/openInterest"): Endpoint(market.open_interest),
    ("GET", "/futures/data/openInterestHist"): Endpoint(market.open_interest_history, 0, pool="data"),
    ("GET", "/fapi/v1/fundingRate"): Endpoint(market.funding_rate, 0, pool="funding"),
    ("GET", "/fapi/v1/fundingInfo"): Endpoint(market.funding_info, 0, pool="funding"),
    ("GET", "/fapi/v1/ticker/bookTicker"): Endpoint(market.book_ticker, _all_costs(2, 5)),
    ("GET", "/fapi/v1/ticker/price"): Endpoint(market.price_ticker, _all_costs(1, 2)),
    ("GET", "/fapi/v2/ticker/price"): Endpoint(market.price_ticker, _all_costs(1, 2)),
    ("GET", "/fapi/v1/ticker/24hr"): Endpoint(market.day_ticker, _all_costs(1, 40)),
    ("POST", "/fapi/v1/order"): Endpoint(order.new_order, 0, _SIGNED, counts_order=True),
    ("GET", "/fapi/v1/order"): Endpoint(order.get_order, 1, _SIGNED),
    ("DELETE", "/fapi/v1/order"): Endpoint(order.delete_order, 1, _SIGNED),
    ("GET", "/fapi/v1/openOrder"): Endpoint(order.get_open_order, 1, _SIGNED),
    ("GET", "/fapi/v1/openOrders"): Endpoint(order.open_orders, _all_costs(1, 40), _SIGNED),
    ("DELETE", "/fapi/v1/allOpenOrders"): Endpoint(order.delete_open_orders, 1, _SIGNED),
    ("GET", "/fapi/v1/allOrders"): Endpoint(order.all_orders, 5, _SIGNED),
    ("GET", "/fapi/v1/userTrades"): Endpoint(order.user_trades, 5, _SIGNED),
    ("POST", "/fapi/v1/algoOrder"): Endpoint(algo.new_algo_order, 0, _SIGNED, counts_order=True),
    ("GET", "/fapi/v1/algoOrder"): Endpoint(algo.get_algo_order, 1, _SIGNED),
    ("DELETE", "/fapi/v1/algoOrder"): Endpoint(algo.delete_algo_order, 1, _SIGNED),
    ("GET", "/fapi/v1/openAlgoOrders"): Endpoint(algo.open_algo_orders, _all_costs(1, 40), _SIGNED),
    ("DELETE", "/fapi/v1/algoOpenOrders"): Endpoint(algo.delete_open_algo_orders, 1, _SIGNED),
    ("GET", "/fapi/v3/balance"): Endpoint(account.balance, 5, _SIGNED),
    ("GET", "/fapi/v3/account"): Endpoint(account.account_info, 5, _SIGNED),
    ("GET", "/fapi/v3/positionRisk"): Endpoint(account.position_risk_v3, 5, _SIGNED),
    ("GET", "/fapi/v2/positionRisk"): Endpoint(account.position_risk_v2, 5, _SIGNED),
    ("POST", "/fapi/v1/leverage"): Endpoint(setting.set_leverage, 1, _SIGNED),
    ("POST", "/fapi/v1/marginType"): Endpoint(setting.set_margin_type, 1, _SIGNED),
    ("GET", "/fapi/v1/positionSide/dual"): Endpoint(setting.get_dual, 30, _SIGNED),
    ("POST", "/fapi/v1/positionSide/dual"): Endpoint(setting.set_dual, 1, _SIGNED),
    ("GET", "/fapi/v1/multiAssetsMargin"): Endpoint(setting.get_multi_assets, 30, _SIGNED),
    ("GET", "/fapi/v1/accountConfig"): Endpoint(setting.account_config, 5, _SIGNED),
    ("GET", "/fapi/v1/symbolConfig"): Endpoint(setting.symbol_config, 5, _SIGNED),
    ("GET", "/fapi/v1/leverageBracket"): Endpoint(setting.leverage_bracket, 1, _SIGNED),
    ("GET", "/fapi/v1/commissionRate"): Endpoint(setting.commission_rate, 20, _SIGNED),
    ("GET", "/fapi/v1/rateLimit/order"): Endpoint(market.order_limits, 1, _SIGNED),
    ("GET", "/fapi/v1/income"): Endpoint(account.income, 30, _SIGNED),
    ("GET", "/fapi/v1/trades"): Endpoint(market.trades, 5),
    ("GET", "/fapi/v1/historicalTrades"): Endpoint(market.historical_trades, 200, "KEY"),
    ("GET", "/fapi/v1/aggTrades"): Endpoint(market.aggregate_trades, 20),
    ("GET", "/fapi/v1/continuousKlines"): Endpoint(market.continuous_klines, market.klines_weight),
    ("GET", "/fapi/v1/indexPriceKlines"): Endpoint(market.index_price_klines, market.klines_weight),
    ("GET", "/fapi/v1/markPriceKlines"): Endpoint(market.mark_price_klines, market.klines_weight),
    ("GET", "/fapi/v1/premiumIndexKlines"): Endpoint(market.premium_index_klines, market.klines_weight),
    ("GET", "/fapi/v1/insuranceBalance"): Endpoint(market.insurance_balance),
    ("GET", "/futures/data/topLongShortAccountRatio"): Endpoint(market.long_short_ratio, 0, pool="data"),
    ("GET", "/futures/data/topLongShortPositionRatio"): Endpoint(market.long_short_ratio, 0, pool="data"),
    ("GET", "/futures/data/globalLongShortAccountRatio"): Endpoint(market.long_short_ratio, 0, pool="data"),
    ("GET", "/futures/data/takerlongshortRatio"): Endpoint(market.taker_ratio, 0, pool="data"),
    ("POST", "/fapi/v1/order/test"): Endpoint(order.test_order, 1, _SIGNED),
    ("PUT", "/fapi/v1/order"): Endpoint(order.modify_order, 0, _SIGNED, counts_order=True),
    ("POST", "/fapi/v1/batchOrders"): Endpoint(order.batch_orders, 5, _SIGNED, counts_order=True, orders_10s=5),
    ("PUT", "/fapi/v1/batchOrders"): Endpoint(order.batch_modify, 5, _SIGNED, counts_order=True, orders_10s=5),
    ("DELETE", "/fapi/v1/batchOrders"): Endpoint(order.batch_cancel, 1, _SIGNED),
    ("POST", "/fapi/v1/countdownCancelAll"): Endpoint(order.countdown_cancel_all, 10, _SIGNED),
    ("GET", "/fapi/v1/orderAmendment"): Endpoint(order.order_amendments, 1, _SIGNED),
    ("GET", "/fapi/v1/forceOrders"): Endpoint(order.force_orders, _all_costs(20, 50), _SIGNED),
    ("GET", "/fapi/v1/allAlgoOrders"): Endpoint(algo.all_algo_orders, 5, _SIGNED),
    ("GET", "/fapi/v2/account"): Endpoint(account.account_v2, 5, _SIGNED),
    ("GET", "/fapi/v2/balance"): Endpoint(account.balance, 5, _SIGNED),
    ("GET", "/fapi/v1/adlQuantile"): Endpoint(account.adl_quantile, 5, _SIGNED),
    ("POST", "/fapi/v1/positionMargin"): Endpoint(setting.position_margin, 1, _SIGNED),
    ("POST", "/fapi/v1/multiAssetsMargin"): Endpoint(setting.set_multi_assets, 1, _SIGNED),
    ("GET", "/fapi/v1/feeBurn"): Endpoint(setting.get_fee_burn, 30, _SIGNED),
    ("POST", "/fapi/v1/feeBurn"): Endpoint(setting.set_fee_burn, 1, _SIGNED),
    ("GET", "/fapi/v1/apiTradingStatus"): Endpoint(setting.trading_status, _all_costs(1, 10), _SIGNED),
    ("POST", "/fapi/v1/listenKey"): Endpoint(account.listen_key_start, 1, "KEY"),
    ("PUT", "/fapi/v1/listenKey"): Endpoint(account.listen_key_keep, 1, "KEY"),
    ("DELETE", "/fapi/v1/listenKey"): Endpoint(account.listen_key_close, 1, "KEY"),
}
ROUTES.update({(row.split(" ")[0], row.split(" ")[1]): Endpoint(_not_simulated) for row in NOT_SIMULATED})
