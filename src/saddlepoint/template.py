"""Text from templates: `<name>.html.j2` and `<name>.md.j2`, each next to the module that renders it.

Values in HTML are escaped, so that no text becomes markup. Markdown is not escaped: a template applies the filter
`cell` to the cells of a table. A template variable without a value raises jinja2's UndefinedError.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Environment


MARKDOWN = {ord(sign): f"\\{sign}" for sign in "\\`*_[]#|~$"} | {ord("<"): "&lt;", ord(">"): "&gt;", ord("&"): "&amp;"}


def render_template(name: str, /, **values: Any) -> str:
    """Render a template, given by its path in this package ("export/card.md.j2")."""
    return _jinja_environment().get_template(name).render(values)


@cache
def _jinja_environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape  # imported here: it takes 50 ms

    environment = Environment(
        loader=PackageLoader("saddlepoint", ""), autoescape=select_autoescape(["html.j2"]), undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True,
    )  # fmt: skip
    environment.filters |= {
        "count": "{:,}".format,
        "figure": _format_number,
        "json": json.dumps,
        "pairs": _format_pairs,
    }
    environment.filters |= {"cell": _escape_cell, "literal": _escape_markdown}
    return environment


def _format_number(value: float | None, digits: int = 4) -> str:
    """Format a number to `digits` significant digits, None as ""."""
    return "" if value is None else f"{value:.{digits}g}"


def _escape_cell(value: Any) -> str:
    """Format a value as a cell of a Markdown pipe table: escape bars, replace line breaks."""
    return str(value).replace("|", "\\|").replace("\n", " ")


def _escape_markdown(text: str) -> str:
    """Escape a text for Markdown, on one line."""
    return " ".join(text.split()).translate(MARKDOWN)


def _format_pairs(mapping: Mapping[str, Any] | None, form: str = "{}") -> str:
    """Format names and values as "torch 2.15, numpy 2.0", without empty values."""
    return ", ".join(f"{name} {form.format(value)}" for name, value in (mapping or {}).items() if value)
