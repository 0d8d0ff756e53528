"""
The only place for the exit codes of the command line; they are stable, scripts may rely on them.

| code | meaning |
|---|---|
| 0 | done as asked, every promise held |
| 1 | refused, or a promise was broken; the output names it |
| 2 | wrong use: an option, an argument or the configuration; the output says what is allowed |
| 3 | something that is needed cannot be reached: Kafka, the venue, a file; the output says which |
| 4 | what was asked about was not found |
| 5 | no answer in time; what was asked may still happen |
| 70 | a worker ended itself because it was wrong (``pipeline.streaming.faults``) |
"""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """What the shell is told."""

    OK = 0
    REFUSED = 1
    USAGE = 2
    UNREACHABLE = 3
    NOT_FOUND = 4
    NO_ANSWER = 5
