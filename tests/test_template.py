"""Templates escape text, and a missing value is an error."""

from __future__ import annotations

import pytest
from jinja2 import UndefinedError

from saddlepoint import template

EVIL = "<b>|*x*\n{{ 7 * 7 }}"


@pytest.fixture
def render(monkeypatch):
    """A function that renders a template source under a name."""

    def render_source(name, source, **values):
        from jinja2 import DictLoader

        environment = template._jinja_environment().overlay(loader=DictLoader({name: source}))
        monkeypatch.setattr(template, "_jinja_environment", lambda: environment)
        return template.render_template(name, **values)

    return render_source


def test_html_is_escaped_and_markdown_is_not(render):
    assert render("a.html.j2", "{{ x }}", x=EVIL) == "&lt;b&gt;|*x*\n{{ 7 * 7 }}"
    assert render("a.md.j2", "{{ x }}", x=EVIL) == EVIL


def test_cells_and_literals_are_escaped(render):
    assert render("a.md.j2", "{{ x | cell }}", x=EVIL) == "<b>\\|*x* {{ 7 * 7 }}"
    assert render("a.md.j2", "{{ x | literal }}", x=EVIL) == "&lt;b&gt;\\|\\*x\\* {{ 7 \\* 7 }}"


def test_an_undefined_name_is_an_error(render):
    with pytest.raises(UndefinedError, match="missing"):
        render("a.md.j2", "{{ missing }}")
