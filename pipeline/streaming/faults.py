"""
The only place where a worker ends itself: at once, without acknowledging anything.

An exception that leaves a Faust agent acknowledges its record, and the supervisor restarts behind it (also with
``CrashingSupervisor`` and ``noack``): the record would be lost. So anything unexpected in the shell ends the process,
and the next start folds again from the manifest. Faults of one symbol never come here: the fold halts that symbol.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, NoReturn

from pipeline import telemetry

EXIT_CODE: Final = 70  # EX_SOFTWARE: something in the program, not in its environment or its input


def end_process(what: str, error: BaseException) -> NoReturn:
    """Say what happened and end the process now: no clean-up runs, no commit, no acknowledgement."""
    telemetry.log.critical(
        telemetry.WORKER_FATAL, what=what, error=repr(error), exc_info=(type(error), error, error.__traceback__)
    )
    os._exit(EXIT_CODE)


@contextmanager
def fatal(what: str) -> Iterator[None]:
    """End the process when the body raises; a cancellation is a normal stop and passes."""
    try:
        yield
    except (asyncio.CancelledError, GeneratorExit):
        raise
    except BaseException as error:  # noqa: BLE001 - the one place: a record must not be acknowledged by an exception
        end_process(what, error)
