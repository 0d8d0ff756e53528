"""The only place for the rules about the shape of the repository: mirrored tests, first sentences, the oracle apart."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("pipeline", "connectors")

# Source file → why it has no mirrored test file of its own.
WITHOUT_MIRROR: dict[str, str] = {
    "pipeline/chaos/disturb.py": "kills real processes: tests/chaos/test_processes.py",
    "pipeline/chaos/evidence.py": "reads what a run left behind: tests/chaos/test_processes.py",
    "pipeline/chaos/virtual_campaign.py": "runs whole seeds: tests/chaos/test_virtual.py",
    "pipeline/chaos/virtual_run.py": "the world of a whole seed: tests/chaos/test_virtual.py",
    "pipeline/virtual/workers.py": "every role at once: tests/chaos/test_virtual.py",
    "pipeline/chaos/pulse.py": "follows a real log: tests/chaos/test_processes.py",
    "pipeline/demo/acts.py": "an act needs every process: played by tests/integration/test_demo.py and `make demo`",
    "pipeline/demo/recorded.py": "needs the recording and every process: `make demo RECORDING=…`",
    "pipeline/demo/run.py": "the order of the demo: tests/integration/test_demo.py",
    "pipeline/demo/stage.py": "starts every process: tests/integration/test_demo.py",
    "pipeline/demo/verdict.py": "reads what a demo left behind: tests/integration/test_demo.py",
}

# A test file that mirrors no source file, but only where the tree mirrors at all (tests/pipeline, tests/connectors).
WITHOUT_SOURCE: dict[str, str] = {
    "tests/pipeline/execution/test_own_limits.py": "limits across a restart: journal, lease and rails together",
}


def _sources() -> list[Path]:
    return sorted(
        path.relative_to(ROOT)
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
        if path.name != "__init__.py"
    )


def _mirror(source: Path) -> Path:
    return Path("tests") / source.parent / f"test_{source.name}"


@pytest.mark.parametrize("source", _sources(), ids=str)
def test_every_source_file_has_its_test_file(source: Path) -> None:
    """``pipeline/core/book.py`` is tested in ``tests/pipeline/core/test_book.py``, or the table says why it is not."""
    expected = _mirror(source)

    assert (ROOT / expected).exists() or str(source) in WITHOUT_MIRROR, f"{expected} is missing"


@pytest.mark.parametrize("source", _sources(), ids=str)
def test_every_source_file_begins_by_saying_what_it_is_for(source: Path) -> None:
    """The first statement of a source file is a docstring whose first sentence says what the file is for."""
    docstring = ast.get_docstring(ast.parse((ROOT / source).read_text()))

    assert docstring, f"{source} begins with no docstring"
    assert docstring.split("\n\n")[0].rstrip().endswith((".", ":", "?")), (
        f"{source}: the first paragraph is no sentence"
    )


def test_the_exceptions_are_still_needed() -> None:
    """An exception whose file has gone, or which has got its test file, is taken off the list."""
    assert [] == [
        name for name in WITHOUT_MIRROR if not (ROOT / name).exists() or (ROOT / _mirror(Path(name))).exists()
    ]
    assert [] == [name for name in WITHOUT_SOURCE if not (ROOT / name).exists()]


def test_no_test_file_outlives_its_source() -> None:
    """A mirrored test file whose source was moved or removed is moved or removed too."""
    mirrors = {_mirror(source) for source in _sources()}
    packages = {
        Path("tests") / path.parent.relative_to(ROOT) / "test_init.py"
        for package in PACKAGES
        for path in (ROOT / package).rglob("__init__.py")
    }
    found = {path.relative_to(ROOT) for package in PACKAGES for path in (ROOT / "tests" / package).rglob("test_*.py")}

    assert [] == sorted(str(path) for path in found - mirrors - packages if str(path) not in WITHOUT_SOURCE)


def test_the_oracle_imports_nothing_of_the_pipeline() -> None:
    """The tests' oracle computes by itself: sharing a line with the core would share its mistakes."""
    for path in sorted((ROOT / "tests" / "oracle").rglob("*.py")):
        assert set() == _imported(path) & set(PACKAGES), f"{path} imports what it is meant to check"


# Folder → the files in it that may touch the world; all the others decide without clock, chance or I/O, so that a test
# drives them with literals and a seed gives the same run twice. (The import contracts hold the same for core and wire.)
SHELLS = {
    "connectors/exchange_simulator": {
        *("admin", "hub", "live_feed", "order_socket", "request_faults", "rest", "server", "streams"),
        "timed_faults",
    },
    "pipeline/binance": {"connections", "order_socket", "rest"},
}
IMPURE = {
    *("aiohttp", "aiokafka", "asyncio", "datetime", "faust", "httpx", "logging", "os", "random", "secrets", "socket"),
    *("structlog", "subprocess", "threading", "time", "uuid", "websockets"),
}


@pytest.mark.parametrize("folder", SHELLS)
def test_only_the_shell_touches_the_world(folder: str) -> None:
    """Rules, matching and decoding import neither clock nor randomness nor I/O; the files of the shell are listed."""
    found = {path.stem: _imported(path) & IMPURE for path in (ROOT / folder).glob("*.py")}

    assert {} == {name: modules for name, modules in found.items() if modules and name not in SHELLS[folder]}
    assert SHELLS[folder] <= set(found), "a listed shell file does not exist any more"


def _imported(path: Path) -> set[str]:
    modules: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            modules |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            modules.add((node.module or "").split(".")[0])
    return modules
