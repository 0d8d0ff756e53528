"""Clients of ours are told the brokers, and how to log in when the cluster asks."""

from __future__ import annotations

from pipeline.settings import load
from pipeline.streaming.clients import client_arguments


def test_plain_brokers() -> None:
    """Without security only addresses are said."""
    assert {"bootstrap_servers": ["one:1", "two:2"]} == client_arguments(load({"PERPGUARD_BROKERS": "one:1,two:2"}))


def test_login() -> None:
    """With SASL_SSL name and password go to the client, over TLS."""
    found = client_arguments(
        load(
            {
                "PERPGUARD_KAFKA_SECURITY": "SASL_SSL",
                "PERPGUARD_KAFKA_USERNAME": "decide",
                "PERPGUARD_KAFKA_PASSWORD": "word",
            }
        )
    )

    assert ("SASL_SSL", "decide", "word") == (
        found["security_protocol"],
        found["sasl_plain_username"],
        found["sasl_plain_password"],
    )
    assert found["ssl_context"].check_hostname
