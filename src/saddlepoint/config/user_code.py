"""The user-defined modules named by a config: their files, hashes and commits, and the errors they raise.

A module is found by its name as `import` would find it, but it is not executed. The modules that it imports are
included, recursively, if they are user-defined too: not part of Python, not installed, not in this package. For a
module of an installed package, only the hash of its own file and the version of the package are recorded.

An error raised by user code is reported in one line: `mylosses.py:12: ValueError: ...`.
"""

import ast
import hashlib
import os
import sys
import sysconfig
import textwrap
import traceback
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import FrameType
from typing import Any

from saddlepoint.config.allow_list import is_within
from saddlepoint.error import Mistake, relative_path
from saddlepoint.redaction import redact
from saddlepoint.run.repository import commit_state, file_git_status

PACKAGE = Path(__file__).resolve().parents[1]
PYTHON = {Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib")}
INSTALLED = frozenset(("site-packages", "dist-packages"))
HASH_DIGITS = 16  # hex digits of a sha256 in a config
IMPORTERS = frozenset(("import_module", "__import__"))
TRACEBACK_VARIABLE = "SADDLEPOINT_TRACEBACK"
TRACEBACK_HINT = f"{TRACEBACK_VARIABLE}=1 shows the full traceback"
MAX_MESSAGE = 500  # characters of a message


def find_modules(targets: Iterable[str]) -> dict[str, Path]:
    """Return name -> file, sorted, of all modules that `targets` (dotted names of classes and functions) need."""
    modules: dict[str, Path] = {}
    queue = [(target, True) for target in targets]
    while queue:
        dotted, is_target = queue.pop()
        for name in _package_prefixes(dotted):
            file = _module_file(name)
            if file is not None and _is_installed(file) and not is_target:
                break  # an installed library that user code imports
            if file is not None and name not in modules:
                modules[name] = file
                queue += [
                    (imported, False) for imported in ([] if _is_installed(file) else _imported_names(name, file))
                ]
    return dict(sorted(modules.items()))


def module_hashes(modules: Mapping[str, Path]) -> dict[str, str]:
    """Return name -> the first 16 hex digits of the sha256 of the module's file."""
    return {name: _file_hash(file)[:HASH_DIGITS] for name, file in modules.items()}


def module_provenance(modules: Mapping[str, Path]) -> dict[str, Any]:
    """Return the entry of provenance.json for each module: its file, git state and commit.

    An installed module has the version of its package instead of the git state.
    """
    entries = {}
    for name, file in modules.items():
        if _is_installed(file):
            entry: dict[str, Any] = {"sha256": _file_hash(file), "version": _package_version(name)}
        else:
            status = file_git_status(file)
            entry = {"sha256": status.sha256, "state": status.state, "git": commit_state(file.parent)}
        entries[name] = {"file": str(file), **entry}
    return redact(entries)


def describe_hash_changes(old: Mapping[str, str], new: Mapping[str, str]) -> list[str]:
    """Return one line for each module whose hash differs between two results of `module_hashes`."""
    return [
        f"{name} (sha256 {old.get(name, 'none')} -> {new.get(name, 'none')})"
        for name in {**old, **new}
        if old.get(name) != new.get(name)
    ]


def _package_prefixes(name: str) -> Iterator[str]:
    """Yield a, a.b, a.b.c for a.b.c, because importing a.b.c imports a and a.b first."""
    parts = name.split(".")
    return (".".join(parts[: i + 1]) for i in range(len(parts)))


def _module_file(name: str) -> Path | None:
    """Return the file of a module; None if it has none or belongs to Python or this package."""
    if name.partition(".")[0] in sys.stdlib_module_names:
        return None
    module = sys.modules.get(name)
    spec = getattr(module, "__spec__", None) or (_find_spec(name) if module is None else None)
    origin = getattr(module, "__file__", None) or (spec.origin if spec is not None and spec.has_location else None)
    if origin is None or not (file := Path(origin).resolve()).is_file():
        return None
    is_user = not file.is_relative_to(PACKAGE) and (_is_installed(file) or not any(map(file.is_relative_to, PYTHON)))
    return file if is_user else None


def _find_spec(name: str) -> ModuleSpec | None:
    """Return the spec of a module without executing its packages."""
    path, spec = None, None
    for prefix in _package_prefixes(name):
        finders = (finder for finder in sys.meta_path if hasattr(finder, "find_spec"))
        specs = (finder.find_spec(prefix, path) for finder in finders)
        spec = next((candidate for candidate in specs if candidate is not None), None)
        if spec is None or (prefix != name and spec.submodule_search_locations is None):
            return None
        path = spec.submodule_search_locations
    return spec


def is_user_file(file: Path) -> bool:
    """Whether a file exists and belongs to neither Python, an installed package, nor this package."""
    file = file.resolve()
    return file.is_file() and not _is_installed(file) and not any(map(file.is_relative_to, (PACKAGE, *PYTHON)))


def _is_installed(file: Path) -> bool:
    return bool(INSTALLED & set(file.parts))


def _imported_names(name: str, file: Path) -> Iterator[str]:
    """Yield the dotted names that a module imports anywhere in its source; nothing if it is not Python source."""
    try:
        tree = ast.parse(file.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return
    package = name if file.name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parent_parts = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*filter(None, parent_parts), *filter(None, [node.module])])
            yield from (f"{base}.{alias.name}" if base else alias.name for alias in node.names)
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called = getattr(node.func, "attr", getattr(node.func, "id", None))
            if called in IMPORTERS and isinstance(literal := node.args[0].value, str) and literal[:1].isidentifier():
                yield literal


def _file_hash(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _package_version(name: str) -> str | None:
    """Return the version of the package of an installed module."""
    import importlib.metadata  # imported here: it is slow and rarely needed

    packages = importlib.metadata.packages_distributions().get(name.partition(".")[0], [])
    return importlib.metadata.version(packages[0]) if packages else None


# --------------------------------------------------------------------------------------- errors of user code


def format_user_error(error: BaseException, allowed: Sequence[str]) -> str | None:
    """Return `<file>:<line>: <type>: <message>` of the innermost frame in user code; None if there is none.

    `allowed`: the names in allow_target; user code is always called through one of them. For a Mistake, its cause is
    reported. The notes of the exception (PEP 678) follow in parentheses.
    """
    if isinstance(error, Mistake):
        return None if error.__cause__ is None else format_user_error(error.__cause__, allowed)
    if not allowed or (frame := _user_frame(error, allowed)) is None:
        return None
    file, number = frame
    text = error.msg if isinstance(error, SyntaxError) else str(error)
    message = textwrap.shorten(" ".join(text.split()), MAX_MESSAGE, placeholder=" ...")
    line = ": ".join(item for item in (f"{relative_path(str(file))}:{number}", type(error).__name__, message) if item)
    notes = "; ".join(" ".join(note.split()) for note in getattr(error, "__notes__", ()))
    return redact(f"{line} ({notes})" if notes else line)


def is_traceback_requested() -> bool:
    """Whether the environment variable requests full tracebacks."""
    return os.environ.get(TRACEBACK_VARIABLE, "").lower() not in ("", "0", "false", "no", "off")


def format_error_location(error: BaseException) -> str:
    """Return " (file, line 12)" of the innermost frame in user code, "" if there is none."""
    frames = [(Path(frame.f_code.co_filename), number) for frame, number in traceback.walk_tb(error.__traceback__)]
    return next(
        (f" ({relative_path(str(file))}, line {number})" for file, number in reversed(frames) if is_user_file(file)), ""
    )


def _user_frame(error: BaseException, allowed: Sequence[str]) -> tuple[Path, int] | None:
    if isinstance(error, SyntaxError) and error.filename and is_user_file(file := Path(error.filename)):
        return file, error.lineno or 1
    frames = list(traceback.walk_tb(error.__traceback__))
    first = next((i for i, (frame, _) in enumerate(frames) if _is_allowed_frame(frame, allowed)), len(frames))
    for frame, number in reversed(frames[first:]):
        if is_user_file(file := Path(frame.f_code.co_filename)) or _is_allowed_frame(frame, allowed):
            return file, number
    return None


def _is_allowed_frame(frame: FrameType, allowed: Sequence[str]) -> bool:
    """Whether a frame's module is allowed, is in an allowed package, or contains an allowed object."""
    module = str(frame.f_globals.get("__name__", ""))
    return is_within(module, allowed) or any(is_within(name, [module]) for name in allowed)
