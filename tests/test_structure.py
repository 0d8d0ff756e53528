"""The only place for the rules about the shape of the repository: mirrored tests, first sentences, the oracle apart."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("pipeline", "connectors")

# Source file → why it has no mirrored test file of its own.
WITHOUT_MIRROR: dict[str, str] = {}

# A test file that mirrors no source file, but only where the tree mirrors at all (tests/pipeline, tests/connectors).
WITHOUT_SOURCE: dict[str, str] = {}


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
    assert docstring.split("\n\n")[0].rstrip().endswith((".", ":")), f"{source}: the first paragraph is no sentence"


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
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not [name for name in names if name.split(".")[0] in PACKAGES], f"{path} imports {names}"
