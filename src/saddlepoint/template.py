"""Text from templates: `<name>.html.j2` and `<name>.md.j2`, each beside the module that renders it.

What is put into HTML is escaped, so that no text is ever markup; Markdown is written as it stands, and a template says
which of its texts are cells of a table. A name that a template asks for and nobody gave raises jinja2's UndefinedError.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Environment


MARKDOWN = {ord(sign): f"\\{sign}" for sign in "\\`*_[]#|~$"} | {ord("<"): "&lt;", ord(">"): "&gt;", ord("&"): "&amp;"}


def render_template(name: str, **values: Any) -> str:
    """The template, by its path in this package ("export/card.md.j2"), with these values."""
    return _environment().get_template(name).render(values)


@cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape  # 50 ms: only where text is made

    found = Environment(
        loader=PackageLoader("saddlepoint", ""), autoescape=select_autoescape(["html.j2"]), undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True,
    )  # fmt: skip
    found.filters |= {"count": "{:,}".format, "figure": _figure, "json": json.dumps, "pairs": _pairs}
    found.filters |= {"cell": _cell, "literal": _literal}
    return found


def _figure(value: float | None, digits: int = 4) -> str:
    """A number to so many digits, "" for none."""
    return "" if value is None else f"{value:.{digits}g}"


def _cell(value: Any) -> str:
    """A text in a pipe table of Markdown: a bar and a line break in it are none of the table's."""
    return str(value).replace("|", "\\|").replace("\n", " ")


def _literal(text: str) -> str:
    """A text in Markdown of which no sign is markup, on one line."""
    return " ".join(text.split()).translate(MARKDOWN)


def _pairs(mapping: Mapping[str, Any] | None, form: str = "{}") -> str:
    """ "torch 2.15, numpy 2.0": names and what they have, without those that have nothing."""
    return ", ".join(f"{name} {form.format(value)}" for name, value in (mapping or {}).items() if value)
