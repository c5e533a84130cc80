"""The hook of mkdocs.yml: adds the reference and the pages that are at the top of the repository, and maps their links.

reference/<group>.md   for each component: its docstring, its YAML file, and the classes and functions of its module
reference/commands.md  the page of `saddlepoint <command> --help` of each command; reference/train.md: the keys of train
results.md, ...        RESULTS.md, CHANGELOG.md and SECURITY.md, which are read on the code's page too
"""

import ast
import html
import inspect
import re
import sys
from pathlib import Path
from typing import Any

import griffe
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "scripts")]

from list_components import GROUPS, describe  # noqa: E402  of this folder, which is not installed

from saddlepoint.cli import help_text  # noqa: E402  the checkout's, not an installed one
from saddlepoint.config import catalogue  # noqa: E402

TOP_PAGES = {"results.md": "RESULTS.md", "changelog.md": "CHANGELOG.md", "security.md": "SECURITY.md"}
ARXIV = re.compile(r"arXiv:\s*(\d{4}\.\d{4,5})")
NAMED = re.compile(r"\w+(, \w+)*  +\S")  # an argument and its meaning
ALIGNED = re.compile(
    r"\s*[^.:;]{1,40}?  +\S|\s{2,}\S"
)  # a name, two spaces, its meaning; or the continuation of a meaning
COMPONENT = re.compile(r"^\| `([\w/]+)` \|", re.MULTILINE)


def on_files(files: Files, config: Any) -> Files:
    """Add the generated pages."""
    pages = {name: (ROOT / source).read_text("utf-8") for name, source in TOP_PAGES.items()}
    pages |= {f"reference/{group}.md": group_page(group) for group in GROUPS}
    pages |= {"reference/commands.md": commands_page(), "reference/train.md": train_page()}
    for name, text in pages.items():
        files.append(File.generated(config, name, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Map links between docs/ and the top of the repository to pages of the site."""
    path = page.file.src_uri
    if path in TOP_PAGES:
        markdown = re.sub(r'(\]\(|src=")docs/', r"\1", markdown)
    if path == "components.md":
        parts = re.split(r"^## (\w+)$", markdown, flags=re.MULTILINE)
        for i in range(1, len(parts), 2):
            parts[i + 1] = COMPONENT.sub(rf"| [`\1`](reference/{parts[i]}.md#\1) |", parts[i + 1])
            parts[i] = f"## {parts[i]}"
        markdown = "".join(parts)
    for name, source in TOP_PAGES.items():
        markdown = re.sub(rf"\]\((?:\.\./)*{source}", f"]({'../' * path.count('/')}{name}", markdown)
    return markdown


def group_page(group: str) -> str:
    """Return the page of a group, with a section per component."""
    names = sorted(path.stem for path in (ROOT / "conf" / group).glob("*.yaml"))
    return f"# {group}\n\nSelected by `{group}=<name>`; see [Compose a run](../composing.md).\n" + "".join(
        component_section(group, name) for name in names
    )


def component_section(group: str, name: str) -> str:
    """Return a component's docstring, with links to its papers, its YAML file and the interface of its module."""
    text = ARXIV.sub(r"[arXiv:\1](https://arxiv.org/abs/\1)", to_markdown(describe(group, name)))
    yaml = (ROOT / "conf" / group / f"{name}.yaml").read_text("utf-8").strip()
    section = f'\n## `{name}` {{ #{name} }}\n\n{text}\n\n```yaml title="conf/{group}/{name}.yaml"\n{yaml}\n```\n'
    module = ROOT / "src" / "saddlepoint" / group / f"{name}.py"
    for member in public_members(module) if module.exists() else ():
        section += f"\n::: saddlepoint.{group}.{name}.{member}\n    options: {{show_root_full_path: false}}\n"
    return section


def public_members(module: Path) -> list[str]:
    """Return the public functions and classes that a module defines, in order."""
    nodes = ast.parse(module.read_text("utf-8")).body
    return [n.name for n in nodes if isinstance(n, ast.FunctionDef | ast.ClassDef) and not n.name.startswith("_")]


class Docstrings(griffe.Extension):
    """Makes the docstrings of the reference Markdown; named in mkdocs.yml."""

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        """Convert the docstring of an object, once."""
        if obj.docstring is not None:
            obj.docstring.value = to_markdown(obj.docstring.value)


def to_markdown(text: str) -> str:
    """Convert plain text: signs are escaped outside of code spans, and paragraphs with aligned columns become code."""
    paragraphs = []
    for paragraph in inspect.cleandoc(text).split("\n\n"):
        lines = paragraph.splitlines()
        if NAMED.match(lines[0]) or sum(bool(ALIGNED.match(line)) for line in lines) > 1:
            paragraphs.append("\n".join(f"    {line}" for line in lines))
        else:
            spans = re.split(r"(`[^`]*`)", paragraph)
            spans[::2] = [re.sub(r"([\\*_\[\]#])", r"\\\1", html.escape(span, quote=False)) for span in spans[::2]]
            paragraphs.append("".join(spans))
    return "\n\n".join(paragraphs)


def commands_page() -> str:
    """Return the help pages of all commands but train."""
    sections = [
        f"\n## {command}\n\n```text\n{help_text.command_page(command, None)}```\n"
        for command in catalogue.COMMANDS
        if command != "train"
    ]
    options = help_text.OPTIONS
    return f"# Commands\n\n`saddlepoint <command> --help` prints these pages.\n\n```text\n{options}```\n" + "".join(
        sections
    )


def train_page() -> str:
    return f"# Keys of train\n\n```text\n{help_text.command_page('train', None)}```\n"
