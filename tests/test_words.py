"""The words of the code: names that were replaced stay replaced, and one public name has one meaning."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "saddlepoint"
PYTHON = [
    path for folder in ("src", "tests", "benchmarks", "scripts") for path in sorted((ROOT / folder).rglob("*.py"))
]
PROSE = [*sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "conf").rglob("*.yaml")), *sorted(ROOT.glob("*.md"))]

# public names of modules that two folders define, each with one meaning or as the interface of a family
SHARED_NAMES: dict[str, str] = {}
# files of one name in two folders
SHARED_FILES: dict[str, str] = {}


def replaced_names() -> list[str]:
    """The left column of the glossary's table of replaced names."""
    page = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
    table = page.partition("## Names that were replaced")[2].partition("\n## ")[0]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    return [name for row in rows for name in re.findall(r"`(\w+)`", row)]


def defined_names(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Every name that a module defines: functions, classes, arguments, variables, attributes of self, imports as."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name, node.lineno
        elif isinstance(node, ast.arg):
            yield node.arg, node.lineno
        elif isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.id if isinstance(node, ast.Name) else node.attr, node.lineno
        elif isinstance(node, ast.alias) and node.asname:
            yield node.asname, node.lineno


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def test_the_glossary_lists_the_names_that_were_replaced() -> None:
    assert {"witness", "ruler", "together", "discreet", "told", "found"} <= set(replaced_names())


@pytest.mark.parametrize("path", PYTHON, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_replaced_name_is_defined(path: Path) -> None:
    left = [(name, line) for name, line in defined_names(parsed(path)) if name in set(replaced_names())]
    assert not left, f"{path}: {left}: see docs/glossary.md"
