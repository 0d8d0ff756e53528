"""The only place for what every Kafka client of ours outside Faust is told: addresses and how to log in."""

from __future__ import annotations

import ssl
from typing import Any

from pipeline.settings import Settings


def client_arguments(settings: Settings) -> dict[str, Any]:  # Any: keyword arguments of aiokafka's clients
    """The arguments that aiokafka's producers, consumers and admin clients share."""
    arguments: dict[str, Any] = {"bootstrap_servers": settings.brokers.split(",")}
    if settings.kafka_security != "PLAINTEXT":
        arguments |= {
            "security_protocol": settings.kafka_security,
            "ssl_context": ssl.create_default_context(),
            "sasl_mechanism": "SCRAM-SHA-512",
            "sasl_plain_username": settings.kafka_username,
            "sasl_plain_password": settings.kafka_password.reveal(),
        }
    return arguments
