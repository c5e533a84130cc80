"""The words of the code: names that were replaced stay replaced, and one public name has one meaning."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "saddlepoint"
PYTHON = [
    path for folder in ("src", "tests", "benchmarks", "scripts") for path in sorted((ROOT / folder).rglob("*.py"))
]
PROSE = [*sorted((ROOT / "docs").rglob("*.md")), *sorted((ROOT / "conf").rglob("*.yaml")), *sorted(ROOT.glob("*.md"))]

KEPT = {  # attributes named like a config key: docs/replaced_names.md
    ("choice", "compose"), ("choice", "import_run"), ("place", "box_mask"), ("recipe", "labelled_metric"),
}  # fmt: skip
PLAIN_WORDS = {  # replaced as names, and used in their plain meaning
    "account", "apart", "choice", "found", "frozen", "highest", "match", "Measure", "meet", "observed", "own", "part",
    "place", "recipe", "refer", "reported", "say", "second", "setting", "stored", "together", "total", "winner", "word",
}  # fmt: skip
FAMILIES = {"architecture", "callback", "cli", "data", "extractor", "layer", "metric", "modality", "objective"}
FAMILIES |= {"optimizer", "prior", "regularizer", "schedule"}  # of components: each file may define the same interface
# names of two files, and why: the second one does what the first one is the command, or the component, of
SHARED_FILES = {
    "checkpoint": {"callback", "run"},  # saves at intervals; the file
    "journal": {"callback", "run"},
    "snapshot": {"callback", "run"},
    "folder": {"data", "run"},  # a folder of data; the folder of a run
    "identity": {"config", "extractor"},  # the hash of a config; the identity map
    "pool": {"launcher", "layer"},  # of processes; of past fakes
    "plot": {"comparison", "sweep"},
    **{
        name: {"cli", room}
        for name, room in {
            "apply": "experiment", "directions": "analysis", "fairness": "analysis",
            "evaluate": "experiment", "export": "export", "memorisation": "experiment", "multirun": "multirun",
            "replay": "experiment", "reproduce": "reproduction", "sample": "experiment", "sweep": "sweep",
            "train": "experiment",
        }.items()
    },
}  # fmt: skip


def replaced_names(of_variables: bool = False) -> set[str]:
    """The left column of the table of replaced names, or of its row of variables alone."""
    page = (ROOT / "docs" / "replaced_names.md").read_text(encoding="utf-8")
    table = page.partition("## Names that were replaced")[2].partition("\n## ")[0]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    return {name for row in rows if not of_variables or "variables" in row for name in re.findall(r"`(\w+)`", row)}


def defined_names(tree: ast.Module) -> Iterator[tuple[str, int, bool]]:
    """The names that a module defines, with their lines, and whether each is a variable or an argument."""
    constants = {id(target) for node in tree.body for target in ast.walk(node) if isinstance(node, ast.Assign)}
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name, node.lineno, False
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr, node.lineno, False
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id, node.lineno, id(node) not in constants
        elif isinstance(node, ast.arg):
            yield node.arg, node.lineno, True
        elif isinstance(node, ast.alias) and node.asname:
            yield node.asname, node.lineno, True


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def test_a_document_lists_the_names_that_were_replaced() -> None:
    assert {"witness", "ruler", "together", "discreet", "told", "found"} <= replaced_names()
    assert replaced_names(of_variables=True) == {"say", "told", "found", "own"}


def test_no_replaced_name_is_defined() -> None:
    public, variables = replaced_names(), replaced_names(of_variables=True)
    defined = [
        f"{path.relative_to(ROOT)}:{line}: {name}"
        for path in PYTHON
        for name, line, is_variable in defined_names(parsed(path))
        if name in (variables if is_variable else public) and (name, path.stem) not in KEPT
    ]
    assert not defined, f"see docs/replaced_names.md: {defined}"


def test_no_text_has_a_replaced_name_that_is_no_plain_word() -> None:
    names = re.compile(rf"\b({'|'.join(replaced_names() - PLAIN_WORDS)})\b")
    history = {"replaced_names.md", "CHANGELOG.md", Path(__file__).name}  # list the names
    found_names = [
        f"{path.relative_to(ROOT)}: {match[0]}"
        for path in (*PROSE, *PYTHON)
        if path.name not in history
        for match in names.finditer(path.read_text(encoding="utf-8"))
    ]
    assert found_names == []


def test_a_public_function_or_class_is_defined_in_one_place() -> None:
    places: dict[str, set[str]] = defaultdict(set)
    for path in PACKAGE.rglob("*.py"):
        module = path.relative_to(PACKAGE)
        for node in parsed(path).body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].add(module.parts[0] if module.parts[0] in FAMILIES else str(module))
    assert {name: sorted(where) for name, where in places.items() if len(where) > 1} == {}


def test_a_file_has_a_name_of_its_own_or_one_that_is_listed_with_a_reason() -> None:
    rooms: dict[str, set[str]] = defaultdict(set)
    for path in PACKAGE.rglob("*.py"):
        if path.stem not in ("__init__", "__main__"):
            rooms[path.stem].add(path.relative_to(PACKAGE).parts[0])
    assert {name: where for name, where in rooms.items() if len(where) > 1} == SHARED_FILES
