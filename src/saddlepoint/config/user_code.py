"""A researcher's own modules: which a config builds from, what stands in them, and which commit they are at.

A module is found by its name, as an import would find it, but nothing is run.  With it count the modules that it
imports, and those that they import, as far as they are the researcher's own too: neither Python's, nor installed, nor
this package's.  Of an installed module its own file counts, and the version of its package is put on record.

An error that such code raised is told in a line: `mylosses.py:12: ValueError: ...`.
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
from saddlepoint.run.repository import current_commit, git_status

PACKAGE = Path(__file__).resolve().parents[1]
PYTHON = {Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib")}
INSTALLED = frozenset(("site-packages", "dist-packages"))
SHOWN = 16  # hex digits of a sha256 that stand in a config
IMPORTERS = frozenset(("import_module", "__import__"))
VARIABLE = "SADDLEPOINT_TRACEBACK"
TRACEBACK_HINT = f"{VARIABLE}=1 shows the whole traceback"
LONGEST_MESSAGE = 500  # characters of a message


def find_modules(targets: Iterable[str]) -> dict[str, Path]:
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


def module_hashes(found: Mapping[str, Path]) -> dict[str, str]:
    """Name -> the first 16 hex digits of the sha256 of the module's file."""
    return {name: _sha256(file)[:SHOWN] for name, file in found.items()}


def module_provenance(found: Mapping[str, Path]) -> dict[str, Any]:
    """What provenance.json has of each module: its file, that file's state in git, and its repository's commit.

    Of an installed module it has the version of the package instead.
    """
    about = {}
    for name, file in found.items():
        if _installed(file):
            origin: dict[str, Any] = {"sha256": _sha256(file), "version": _version(name)}
        else:
            known = git_status(file)
            origin = {"sha256": known.sha256, "state": known.state, "git": current_commit(file.parent)}
        about[name] = {"file": str(file), **origin}
    return redact(about)


def hash_changes(then: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
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


def is_user_file(file: Path) -> bool:
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
    import importlib.metadata  # it takes time, and few have installed modules of their own

    packages = importlib.metadata.packages_distributions().get(name.partition(".")[0], [])
    return importlib.metadata.version(packages[0]) if packages else None


# --------------------------------------------------------------------------------------- errors that it raised


def format_user_error(error: BaseException, allowed: Sequence[str]) -> str | None:
    """`<file>:<line>: <type>: <message>`, of the innermost frame in the user's own code; None where there is none.

    `allowed` names what allow_target lets be built: the user's code is run by way of one of these modules.  Of a
    Mistake its cause counts.  The notes of the exception (PEP 678) stand behind the message, in brackets.
    """
    if isinstance(error, Mistake):
        return None if error.__cause__ is None else format_user_error(error.__cause__, allowed)
    if not allowed or (found := _place(error, allowed)) is None:
        return None
    file, number = found
    text = error.msg if isinstance(error, SyntaxError) else str(error)
    message = textwrap.shorten(" ".join(text.split()), LONGEST_MESSAGE, placeholder=" ...")
    told = ": ".join(part for part in (f"{relative_path(str(file))}:{number}", type(error).__name__, message) if part)
    notes = "; ".join(" ".join(note.split()) for note in getattr(error, "__notes__", ()))
    return redact(f"{told} ({notes})" if notes else told)


def is_traceback_requested() -> bool:
    """Whether the environment asks for whole tracebacks."""
    return os.environ.get(VARIABLE, "").lower() not in ("", "0", "false", "no", "off")


def error_location(error: BaseException) -> str:
    """ " (file, line 12)": the innermost frame that is neither this package's nor a library's, "" without one."""
    frames = [(Path(frame.f_code.co_filename), number) for frame, number in traceback.walk_tb(error.__traceback__)]
    return next(
        (f" ({relative_path(str(file))}, line {number})" for file, number in reversed(frames) if is_user_file(file)), ""
    )


def _place(error: BaseException, allowed: Sequence[str]) -> tuple[Path, int] | None:
    if isinstance(error, SyntaxError) and error.filename and is_user_file(file := Path(error.filename)):
        return file, error.lineno or 1
    frames = list(traceback.walk_tb(error.__traceback__))
    first = next((i for i, (frame, _) in enumerate(frames) if _of_allowed(frame, allowed)), len(frames))
    for frame, number in reversed(frames[first:]):
        if is_user_file(file := Path(frame.f_code.co_filename)) or _of_allowed(frame, allowed):
            return file, number
    return None


def _of_allowed(frame: FrameType, allowed: Sequence[str]) -> bool:
    """Whether a frame is of a module that is allowed, lies in an allowed package, or holds an allowed object."""
    module = str(frame.f_globals.get("__name__", ""))
    return is_within(module, allowed) or any(is_within(one, [module]) for one in allowed)
