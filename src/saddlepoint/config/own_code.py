"""A researcher's own modules: which a config builds from, what stands in them, and which commit they are at.

A module is found by its name, as an import would find it, but nothing is run.  With it count the modules that it
imports, and those that they import, as far as they are the researcher's own too: neither Python's, nor installed, nor
this package's.  Of an installed module its own file counts, and the version of its package is put on record.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.metadata
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Mapping
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

import saddlepoint
from saddlepoint.redaction import discreet
from saddlepoint.run.repository import commit, standing

PACKAGE = Path(saddlepoint.__file__).resolve().parent
PYTHON = {Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib")}
INSTALLED = frozenset(("site-packages", "dist-packages"))
SHOWN = 16  # hex digits of a sha256 that stand in a config
IMPORTERS = frozenset(("import_module", "__import__"))


def modules(targets: Iterable[str]) -> dict[str, Path]:
    """Name -> file of each module that `targets` (dotted names of classes and functions) need, sorted by name."""
    found: dict[str, Path] = {}
    waiting = [(target, True) for target in targets]
    while waiting:
        dotted, named = waiting.pop()
        for name in _prefixes(dotted):
            file = _file(name)
            if file is not None and _installed(file) and not named:
                break  # a library that own code imports
            if file is not None and name not in found:
                found[name] = file
                waiting += [(one, False) for one in ([] if _installed(file) else _imports(name, file))]
    return dict(sorted(found.items()))


def digests(found: Mapping[str, Path]) -> dict[str, str]:
    """Name -> the first 16 hex digits of the sha256 of the module's file."""
    return {name: _sha256(file)[:SHOWN] for name, file in found.items()}


def record(found: Mapping[str, Path]) -> dict[str, Any]:
    """What provenance.json has of each module: its file, that file's state in git, and its repository's commit.

    Of an installed module it has the version of the package instead.
    """
    about = {}
    for name, file in found.items():
        if _installed(file):
            origin: dict[str, Any] = {"sha256": _sha256(file), "version": _version(name)}
        else:
            known = standing(file)
            origin = {"sha256": known.sha256, "state": known.state, "git": commit(file.parent)}
        about[name] = {"file": str(file), **origin}
    return discreet(about)


def changes(then: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """How the code of a run differs from that of now, a line per module; both as `digests` gives them."""
    return [
        f"{name} (sha256 {then.get(name, 'none')} -> {now.get(name, 'none')})"
        for name in {**then, **now}
        if then.get(name) != now.get(name)
    ]


def _prefixes(name: str) -> Iterator[str]:
    """a, a.b, a.b.c of a.b.c: a package is run before what is in it."""
    parts = name.split(".")
    return (".".join(parts[: i + 1]) for i in range(len(parts)))


def _file(name: str) -> Path | None:
    """The file of a module, None where there is none, or where it is Python's or this package's."""
    if name.partition(".")[0] in sys.stdlib_module_names:
        return None
    module = sys.modules.get(name)
    spec = getattr(module, "__spec__", None) or (_spec(name) if module is None else None)
    origin = getattr(module, "__file__", None) or (spec.origin if spec is not None and spec.has_location else None)
    if origin is None or not (file := Path(origin).resolve()).is_file():
        return None
    own = not file.is_relative_to(PACKAGE) and (_installed(file) or not any(map(file.is_relative_to, PYTHON)))
    return file if own else None


def _spec(name: str) -> ModuleSpec | None:
    """Where a module would be imported from; its packages are looked through, and not run."""
    path, spec = None, None
    for prefix in _prefixes(name):
        finders = (finder for finder in sys.meta_path if hasattr(finder, "find_spec"))
        spec = next((one for finder in finders if (one := finder.find_spec(prefix, path)) is not None), None)
        if spec is None or (prefix != name and spec.submodule_search_locations is None):
            return None
        path = spec.submodule_search_locations
    return spec


def own(file: Path) -> bool:
    """Whether a file is the user's own: one that is there, and neither Python's, nor installed, nor this package's."""
    file = file.resolve()
    return file.is_file() and not _installed(file) and not any(map(file.is_relative_to, (PACKAGE, *PYTHON)))


def _installed(file: Path) -> bool:
    return bool(INSTALLED & set(file.parts))


def _imports(name: str, file: Path) -> Iterator[str]:
    """The dotted names that a module's source imports, wherever in it; nothing of what is no Python source."""
    try:
        tree = ast.parse(file.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return
    package = name if file.name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (one.name for one in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*filter(None, above), *filter(None, [node.module])])
            yield from (f"{base}.{one.name}" if base else one.name for one in node.names)
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called = getattr(node.func, "attr", getattr(node.func, "id", None))
            if called in IMPORTERS and isinstance(literal := node.args[0].value, str) and literal[:1].isidentifier():
                yield literal


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _version(name: str) -> str | None:
    """The version of the package that an installed module came with."""
    packages = importlib.metadata.packages_distributions().get(name.partition(".")[0], [])
    return importlib.metadata.version(packages[0]) if packages else None
