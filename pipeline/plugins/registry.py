"""
The only place that finds plug-ins: by entry point of the group ``perpguard.plugins``, installed or in a directory.

A folder of the plug-in directory (``PERPGUARD_PLUGIN_DIRECTORY``) counts as installed when its ``pyproject.toml`` has
the entry point: what `perpguard plugin new` writes runs without pip, and the same folder can be installed.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import sys
import tomllib
from hashlib import blake2b
from pathlib import Path
from typing import Final

import msgspec

from pipeline.plugins.api import Misuse, Plugin

GROUP: Final = "perpguard.plugins"


class Found(msgspec.Struct, frozen=True):
    """A plug-in that is there: its name, ``module:attribute``, and the folder to import it from (None: installed)."""

    name: str
    target: str
    folder: Path | None


def find(directory: Path) -> tuple[dict[str, Found], list[str]]:
    """All plug-ins by name, and what is wrong with the others; a name that stands twice is nobody's."""
    found: dict[str, Found] = {}
    problems: list[str] = []
    candidates = [Found(point.name, point.value, None) for point in importlib.metadata.entry_points(group=GROUP)]
    for path in sorted(directory.glob("*/pyproject.toml")) if directory.is_dir() else []:
        try:
            project = tomllib.loads(path.read_text(encoding="utf-8"))
            points = project.get("project", {}).get("entry-points", {}).get(GROUP, {})
            candidates += [Found(name, str(target), path.parent.resolve()) for name, target in points.items()]
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, AttributeError) as error:
            problems.append(f"{path} cannot be read: {error}")
    for one in candidates:
        if one.name in found:
            problems.append(f"{one.name} is there twice: {_where(found[one.name])} and {_where(one)}; keep one")
        found[one.name] = one
    return found, problems


def _where(found: Found) -> str:
    return "installed" if found.folder is None else str(found.folder)


def load(name: str, directory: Path) -> tuple[Plugin, str]:
    """
    Import plug-in *name* and return it with the digest of its code.

    Raises Misuse with what is there and what is wanted. Whatever the module itself raises comes through.
    """
    found, problems = find(directory)
    if name not in found:
        known = ", ".join(sorted(found)) or "none"
        more = f" ({'; '.join(problems)})" if problems else ""
        raise Misuse(
            f"no plug-in is called {name!r}; there are: {known}{more}. `perpguard plugin new {name}` writes one into "
            f"{directory}; PERPGUARD_PLUGIN_DIRECTORY says where they are"
        )
    here = found[name]
    module_name, colon, attribute = here.target.partition(":")
    if not module_name or not colon or not attribute:
        raise Misuse(f'entry point of {name}: found {here.target!r}; allowed: "module:attribute"')
    if here.folder is not None:
        sys.path.insert(0, str(here.folder))
    module = importlib.import_module(module_name)
    plugin = getattr(module, attribute, None)
    if not isinstance(plugin, Plugin):
        raise Misuse(f"{module_name}:{attribute} is {type(plugin).__name__}; allowed: a pipeline.plugins.api.Plugin")
    assert module.__file__ is not None, module_name
    return plugin, code_digest(Path(module.__file__))


def code_digest(module: Path) -> str:
    """
    16 hex digits over the source of a plug-in: its module, or every module of its package.

    Names are part of it; tests (``test_*.py``) are not.
    """
    files = sorted(module.parent.rglob("*.py")) if module.name == "__init__.py" else [module]
    hasher = blake2b(digest_size=8)
    for path in files:
        if path.name.startswith("test_"):
            continue
        name, body = str(path.relative_to(module.parent)).encode(), path.read_bytes()
        hasher.update(b"%d:%b%d:%b" % (len(name), name, len(body), body))
    return hasher.hexdigest()
