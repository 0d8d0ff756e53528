"""
The only place for the names that logs and metrics use, and for how both are set up.

Histograms are per stage and gauges per symbol: a histogram per symbol (500 × 12 buckets) blocks a scrape for 67 ms.
Log events are constants in snake_case; what a program needs is in a record, not in a log line.
"""

from __future__ import annotations

import logging
import sys
from typing import Any, Final

from prometheus_client import Counter, Gauge, Histogram

from pipeline.lean_imports import without

with without("rich"):
    import structlog

# ------------------------------------------------------------------------------------------------- log event names

WORKER_FATAL: Final = "worker_fatal"
PARTITION_LOADED: Final = "partition_loaded"
PARTITION_STOPPED: Final = "partition_stopped"
PARTITIONS_REVOKED: Final = "partitions_revoked"
PARTITIONS_ASSIGNED: Final = "partitions_assigned"
OFFSET_SKIPPED: Final = "offset_skipped"
OFFSET_ASKED_AGAIN: Final = "offset_asked_again"
GAP_DECLARED: Final = "gap_declared"
CHECKPOINT_DONE: Final = "checkpoint_done"
CHECKPOINT_ABANDONED: Final = "checkpoint_abandoned"
CLEAN_STOP: Final = "clean_stop"
STOP_NOT_CLEAN: Final = "stop_not_clean"
ANCHOR_WRITTEN: Final = "anchor_written"
TOPICS_READY: Final = "topics_ready"
VIEWS_SERVED: Final = "views_served"
PLUGIN_FAILED: Final = "plugin_failed"

# ------------------------------------------------------------------------------------------------------- metrics

STAGE_SECONDS = Histogram(
    "perpguard_stage_seconds",
    "Duration of a stage: fold (one record), output (produce to acknowledgement), checkpoint (one round).",
    ["role", "stage"],
    buckets=(0.0002, 0.0005, 0.001, 0.002, 0.004, 0.008, 0.015, 0.03, 0.06, 0.125, 0.5, 2.0),
)
RECORDS = Counter(
    "perpguard_records_total", "Records by what the guard said: applied, skipped, ahead.", ["role", "verdict"]
)
OUTPUTS = Counter("perpguard_outputs_total", "Records written, by topic.", ["role", "topic"])
ROUNDS = Counter(
    "perpguard_checkpoint_rounds_total", "Checkpoint rounds by outcome: done, abandoned.", ["role", "outcome"]
)
NEXT_OFFSET = Gauge(
    "perpguard_next_offset", "First offset of the partition that is not yet applied.", ["role", "partition"]
)
STOPPED = Gauge("perpguard_partition_stopped", "1 while the partition is stopped with an alert.", ["role", "partition"])
LAG_SECONDS = Gauge(
    "perpguard_fold_lag_seconds", "Wall clock less append time of the last record.", ["role", "partition"]
)

log: Any = structlog.get_logger("perpguard")  # Any: structlog binds its types at run time


# Faust opens the root logger to everything and filters in its handler: each of these would then make, for every
# request and every frame, a record that nobody reads (a tenth of a worker's time was seen to go into it).
TALKATIVE: Final = ("aiokafka", "asyncio", "httpcore", "httpx", "kafka", "websockets")


def configure_logging(*, level: str = "info") -> None:
    """
    One JSON object a line on stderr, with level and UTC time; standard library loggers keep their own form.

    Clients of Kafka, HTTP and WebSocket speak from WARNING on, unless *level* is debug.
    """
    if level.lower() != "debug":
        for name in TALKATIVE:
            logging.getLogger(name).setLevel(logging.WARNING)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=structlog.PrintLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
