"""The route table of the simulated REST interface: method and path → weight, security, handler (sheet 4)."""

from __future__ import annotations

from typing import Any, Final

from connectors.exchange_simulator import account_endpoints as account
from connectors.exchange_simulator import market_endpoints as market
from connectors.exchange_simulator import order_endpoints as order
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
    "POST /fapi/v1/order/test", "PUT /fapi/v1/order", "POST /fapi/v1/batchOrders", "PUT /fapi/v1/batchOrders",
    "DELETE /fapi/v1/batchOrders", "POST /fapi/v1/countdownCancelAll", "GET /fapi/v1/orderAmendment",
    "GET /fapi/v1/forceOrders", "GET /fapi/v1/allAlgoOrders", "GET /fapi/v1/rpiDepth", "GET /fapi/v1/trades",
    "GET /fapi/v1/historicalTrades", "GET /fapi/v1/aggTrades", "GET /fapi/v1/continuousKlines",
    "GET /fapi/v1/indexPriceKlines", "GET /fapi/v1/markPriceKlines", "GET /fapi/v1/premiumIndexKlines",
    "GET /fapi/v1/symbolAdlRisk", "GET /fapi/v1/insuranceBalance", "GET /fapi/v1/constituents",
    "GET /fapi/v1/assetIndex", "GET /fapi/v1/tradingSchedule", "GET /fapi/v2/account", "GET /fapi/v2/balance",
    "POST /fapi/v1/positionMargin", "POST /fapi/v1/multiAssetsMargin", "GET /fapi/v1/apiTradingStatus",
    "POST /fapi/v1/feeBurn", "GET /fapi/v1/feeBurn", "GET /fapi/v1/adlQuantile",
    "GET /futures/data/topLongShortAccountRatio", "GET /futures/data/topLongShortPositionRatio",
    "GET /futures/data/globalLongShortAccountRatio", "GET /futures/data/takerlongshortRatio",
    "GET /futures/data/basis",
)  # fmt: skip
_SIGNED: Final = "SIGNED"
ROUTES: Final[dict[tuple[str, str], Endpoint]] = {
    ("GET", "/fapi/v1/ping"): Endpoint(market.ping),
    ("GET", "/fapi/v1/time"): Endpoint(market.server_time),
    ("GET", "/fapi/v1/exchangeInfo"): Endpoint(market.exchange_info),
    ("GET", "/fapi/v1/depth"): Endpoint(market.depth, market.depth_weight),
    ("GET", "/fapi/v1/klines"): Endpoint(market.klines, market.klines_weight),
    ("GET", "/fapi/v1/premiumIndex"): Endpoint(market.premium_index, _all_costs(1, 10)),
    ("GET", "/fapi/v1/openInterest"): Endpoint(market.open_interest),
    ("GET", "/futures/data/openInterestHist"): Endpoint(market.open_interest_history, 0),
    ("GET", "/fapi/v1/fundingRate"): Endpoint(market.funding_rate, 0),
    ("GET", "/fapi/v1/fundingInfo"): Endpoint(market.funding_info, 0),
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
    ("POST", "/fapi/v1/algoOrder"): Endpoint(order.new_algo_order, 0, _SIGNED, counts_order=True),
    ("GET", "/fapi/v1/algoOrder"): Endpoint(order.get_algo_order, 1, _SIGNED),
    ("DELETE", "/fapi/v1/algoOrder"): Endpoint(order.delete_algo_order, 1, _SIGNED),
    ("GET", "/fapi/v1/openAlgoOrders"): Endpoint(order.open_algo_orders, _all_costs(1, 40), _SIGNED),
    ("DELETE", "/fapi/v1/algoOpenOrders"): Endpoint(order.delete_open_algo_orders, 1, _SIGNED),
    ("GET", "/fapi/v3/balance"): Endpoint(account.balance, 5, _SIGNED),
    ("GET", "/fapi/v3/account"): Endpoint(account.account_info, 5, _SIGNED),
    ("GET", "/fapi/v3/positionRisk"): Endpoint(account.position_risk_v3, 5, _SIGNED),
    ("GET", "/fapi/v2/positionRisk"): Endpoint(account.position_risk_v2, 5, _SIGNED),
    ("POST", "/fapi/v1/leverage"): Endpoint(account.set_leverage, 1, _SIGNED),
    ("POST", "/fapi/v1/marginType"): Endpoint(account.set_margin_type, 1, _SIGNED),
    ("GET", "/fapi/v1/positionSide/dual"): Endpoint(account.get_dual, 30, _SIGNED),
    ("POST", "/fapi/v1/positionSide/dual"): Endpoint(account.set_dual, 1, _SIGNED),
    ("GET", "/fapi/v1/multiAssetsMargin"): Endpoint(account.get_multi_assets, 30, _SIGNED),
    ("GET", "/fapi/v1/accountConfig"): Endpoint(account.account_config, 5, _SIGNED),
    ("GET", "/fapi/v1/symbolConfig"): Endpoint(account.symbol_config, 5, _SIGNED),
    ("GET", "/fapi/v1/leverageBracket"): Endpoint(account.leverage_bracket, 1, _SIGNED),
    ("GET", "/fapi/v1/commissionRate"): Endpoint(account.commission_rate, 20, _SIGNED),
    ("GET", "/fapi/v1/rateLimit/order"): Endpoint(market.order_limits, 1, _SIGNED),
    ("GET", "/fapi/v1/income"): Endpoint(account.income, 30, _SIGNED),
    ("POST", "/fapi/v1/listenKey"): Endpoint(account.listen_key_start, 1, "KEY"),
    ("PUT", "/fapi/v1/listenKey"): Endpoint(account.listen_key_keep, 1, "KEY"),
    ("DELETE", "/fapi/v1/listenKey"): Endpoint(account.listen_key_close, 1, "KEY"),
}
ROUTES.update({(row.split(" ")[0], row.split(" ")[1]): Endpoint(_not_simulated) for row in NOT_SIMULATED})
