"""
The only place for the process that a plug-in lives in: ``python -m pipeline.plugins.child NAME DIRECTORY``.

It reads calls from its input and writes answers to what was its output; what the plug-in prints goes to the error
stream, so that it cannot forge an answer. A call that overruns is ended by the host, or by a timer of the system
should the host be gone: neither needs the plug-in's consent.
"""

from __future__ import annotations

import os
import resource
import signal
import struct
import sys
import traceback
from pathlib import Path
from typing import BinaryIO, Final

import msgspec

from pipeline.core.plugin_answers import Answer, SaysFailed
from pipeline.core.plugin_views import PluginView
from pipeline.plugins.api import Misuse, Plugin, answer_of, view_of
from pipeline.plugins.registry import load

HEAD: Final = struct.Struct("<I")
MAX_FRAME: Final = 4 << 20
MEMORY_BYTES: Final = 1 << 30  # of addresses: a plug-in that wants more fails, not the machine
GRACE_SECONDS: Final = 2.0  # the host ends an overrun first; the timer is for when it cannot
REASON_CHARACTERS: Final = 180


class Hello(msgspec.Struct, frozen=True):
    """The first word of a child; ``problem`` says why the plug-in cannot be used (empty: it can)."""

    kind: str = ""
    version: str = ""
    code: str = ""
    parameters: dict[str, float] = msgspec.field(default_factory=dict)
    problem: str = ""


class Call(msgspec.Struct, frozen=True):
    """One call: the view and the parameters of the configuration; ``budget_ms`` is what it may take."""

    view: PluginView
    parameters: dict[str, float]
    budget_ms: int


def frame(body: msgspec.Struct) -> bytes:
    """Length, then msgpack."""
    encoded = msgspec.msgpack.encode(body)
    return HEAD.pack(len(encoded)) + encoded


def _read(stream: BinaryIO) -> bytes | None:
    head = stream.read(HEAD.size)
    if len(head) < HEAD.size:
        return None
    return stream.read(HEAD.unpack(head)[0])


def answer(plugin: Plugin, call: Call) -> Answer:
    """What the plug-in says; whatever goes wrong in it is said in one line that names its place."""
    try:
        said = plugin.evaluate(view_of(call.view), plugin.parameters | call.parameters)
        return answer_of(plugin.kind, said)
    except Misuse as misuse:
        return SaysFailed(str(misuse)[:REASON_CHARACTERS])
    except BaseException as error:  # noqa: BLE001 - the plug-in's own, SystemExit too: it is told, nothing is swallowed
        return SaysFailed(f"raised {said_of(error)}"[:REASON_CHARACTERS])


def said_of(error: BaseException) -> str:
    """An exception in one line, with the innermost place."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    text = str(error).replace("\n", " ")
    return f"{type(error).__name__}: {text}{where}"


def introduce(name: str, directory: Path) -> tuple[Plugin | None, Hello]:
    """Load the plug-in; one that cannot be loaded introduces itself with its problem."""
    try:
        plugin, code = load(name, directory)
    except Misuse as misuse:
        return None, Hello(problem=str(misuse))
    except BaseException as error:  # noqa: BLE001 - the module's own: told to the host, which tells people
        return None, Hello(problem=f"cannot be imported: {said_of(error)}")
    return plugin, Hello(plugin.kind, plugin.version, code, plugin.parameters)


def serve(name: str, directory: Path, calls: BinaryIO, answers: BinaryIO) -> None:
    """Introduce the plug-in, then answer one call after the other until the host is gone."""
    plugin, hello = introduce(name, directory)
    answers.write(frame(hello))
    answers.flush()
    decode = msgspec.msgpack.Decoder(Call).decode
    while plugin is not None and (body := _read(calls)) is not None:
        call = decode(body)
        signal.setitimer(signal.ITIMER_REAL, call.budget_ms / 1_000 + GRACE_SECONDS)
        said = answer(plugin, call)
        signal.setitimer(signal.ITIMER_REAL, 0)
        answers.write(frame(said))
        answers.flush()


def main() -> None:
    """Keep the answers' stream for ourselves, bound the memory, serve."""
    name, directory = sys.argv[1], Path(sys.argv[2])
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    calls = os.fdopen(os.dup(0), "rb")
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the host
    try:
        serve(name, directory, calls, answers)
    except BrokenPipeError:
        os._exit(0)  # the host is gone, and with it whoever wanted the answer


if __name__ == "__main__":
    main()
