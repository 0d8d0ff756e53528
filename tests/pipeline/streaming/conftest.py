"""The only place that keeps the log quiet while thousands of partitions are loaded in tests."""

from __future__ import annotations

import logging

import structlog

structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
