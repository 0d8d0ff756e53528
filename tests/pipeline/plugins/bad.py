"""The only place where tests get plug-ins that misbehave, one folder each, as their authors would write them."""

from __future__ import annotations

from pathlib import Path

HEAD = "import os, sys, time\nfrom pipeline.plugins.api import *\n"
TAIL = "\nplugin = Plugin(kind={kind!r}, version='1', evaluate=evaluate, parameters={{'bars': 3}})\n"

# Name → the body of ``evaluate``.
BODIES = {
    "good": "return Close('enough')",
    "loops": "while True: pass",
    "loops_deaf": "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n    while True: pass",
    "loops_in_c": "return (10 ** 10 ** 8) % 7",
    "sleeps": "time.sleep(60)",
    "raises": "return 1 / 0",
    "exits": "sys.exit(3)",
    "dies": "os._exit(3)",
    "recurses": "return evaluate(view, parameters)",
    "hoards": "x = []\n    while True: x.append(bytearray(1 << 26))",
    "prints": "print('noise' * 1000, flush=True); os.write(1, b'junk'); return Close('enough')",
    "returns_text": "return 'close it'",
    "returns_signal": "return Signal('long')",
    "returns_nan": "return Tighten(float('nan'))",
    "returns_minus": "return Tighten(-5.0)",
    "returns_infinity": "return Tighten(float('inf'))",
    "returns_text_price": "return Tighten('100')",
    "changes_view": "view.position.stop = 5",
    "talks": "return Close('x' * 100000)",
}


def write(directory: Path, *names: str, kind: str = "exit", module: str | None = None) -> Path:
    """A plug-in directory with these plug-ins; *module* is the whole source of every one instead."""
    for name in names:
        folder = directory / name
        folder.mkdir(parents=True)
        (folder / "pyproject.toml").write_text(
            f'[project]\nname = "{name}"\n[project.entry-points."perpguard.plugins"]\n{name} = "{name}:plugin"\n'
        )
        body = f"def evaluate(view, parameters):\n    {BODIES.get(name, 'return None')}\n"
        (folder / f"{name}.py").write_text(module or HEAD + body + TAIL.format(kind=kind))
    return directory
