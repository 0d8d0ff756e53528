"""The only place for ``perpguard topics``: make what is missing on a cluster, and draw the identity of the log once."""

from __future__ import annotations

from pathlib import Path

import click
from aiokafka.errors import KafkaError

from pipeline.commands.context import Failed, config_option, finish, json_option, run, settings_or_exit
from pipeline.commands.exit_codes import ExitCode
from pipeline.streaming.clients import client_arguments
from pipeline.streaming.topics_admin import TopicsNotReady, ensure_topics_as, wanted_topics


@click.command()
@click.option(
    "--replication",
    type=click.IntRange(1, 9),
    default=1,
    show_default=True,
    help="Copies of each topic that is made now; 3 where there are three brokers.",
)
@config_option
@json_option
def topics(replication: int, config_path: Path | None, as_json: bool) -> None:
    """
    Make the topics and table changelogs that are missing, and the identity of the log.

    Safe to repeat: what is there stays as it is. The other processes do the same at their start; where their rights do
    not reach that far (production), this runs once before them. Exit code 3: the cluster cannot be reached or refuses.
    """
    settings = settings_or_exit(config_path)
    try:
        identity = run(ensure_topics_as(client_arguments(settings), settings.prefix, replication))
    except (TopicsNotReady, KafkaError, OSError) as error:
        raise Failed(f"the topics cannot be made on {settings.brokers}: {error}", ExitCode.UNREACHABLE) from error
    names = sorted(topic.name for topic in wanted_topics(settings.prefix, replication))
    words = f"{len(names)} topics with the prefix {settings.prefix} are there; identity of the log: {identity}"
    finish({"identity": identity, "topics": names}, words, as_json=as_json)
