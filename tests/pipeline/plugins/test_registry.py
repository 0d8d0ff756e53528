"""Tests of finding plug-ins: by entry point in a folder, twice is nobody's, code has a digest."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.plugins.api import Misuse
from pipeline.plugins.registry import code_digest, find, load
from tests.pipeline.plugins import bad


def test_folders_with_an_entry_point_are_found(tmp_path: Path) -> None:
    """Others are left alone; one whose file cannot be read is told."""
    directory = bad.write(tmp_path, "good", "raises")
    (directory / "notes").mkdir()
    (directory / "torn").mkdir()
    (directory / "torn" / "pyproject.toml").write_text("[project\n")
    found, problems = find(directory)

    assert ["good", "raises"] == sorted(found)
    assert 1 == len(problems) and "torn" in problems[0]
    assert ({}, []) == find(tmp_path / "absent")


def test_a_name_that_is_there_twice_is_told(tmp_path: Path) -> None:
    """Both places are named."""
    directory = bad.write(tmp_path, "good")
    bad.write(directory / "x", "good")
    (directory / "x" / "good").rename(directory / "other")
    _, problems = find(directory)

    assert ["good is there twice"] == [problem.partition(":")[0] for problem in problems]


@pytest.mark.parametrize("target", ["good", "good:", ":plugin"])
def test_an_entry_point_without_an_attribute_says_its_form(tmp_path: Path, target: str) -> None:
    """``module:attribute``."""
    bad.write(tmp_path, "good")
    (tmp_path / "good" / "pyproject.toml").write_text(
        f'[project.entry-points."perpguard.plugins"]\ngood = "{target}"\n'
    )

    with pytest.raises(Misuse, match="module:attribute"):
        load("good", tmp_path)


def test_the_digest_is_of_the_code_and_not_of_its_tests(tmp_path: Path) -> None:
    """A changed byte of the module is another code, a changed test is not; a package counts every module."""
    folder = bad.write(tmp_path, "good") / "good"
    module = folder / "good.py"
    before = code_digest(module)
    (folder / "test_good.py").write_text("assert True")
    assert before == code_digest(module)
    module.write_text(module.read_text() + "\n# another word\n")
    assert before != code_digest(module)
    package = tmp_path / "package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    one = code_digest(package / "__init__.py")
    (package / "inner.py").write_text("")
    assert one != code_digest(package / "__init__.py")
