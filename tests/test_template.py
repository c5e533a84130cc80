"""Templates: no text becomes markup, and nothing that is missing is left out in silence."""

from __future__ import annotations

import pytest
from jinja2 import UndefinedError

from saddlepoint import template

EVIL = "<b>|*x*\n{{ 7 * 7 }}"


@pytest.fixture
def rendered(monkeypatch):
    """Render a source under a name."""

    def render(name, source, **values):
        from jinja2 import DictLoader

        found = template._environment().overlay(loader=DictLoader({name: source}))
        monkeypatch.setattr(template, "_environment", lambda: found)
        return template.render_template(name, **values)

    return render


def test_html_is_escaped_and_markdown_is_not(rendered):
    assert rendered("a.html.j2", "{{ x }}", x=EVIL) == "&lt;b&gt;|*x*\n{{ 7 * 7 }}"
    assert rendered("a.md.j2", "{{ x }}", x=EVIL) == EVIL


def test_cells_and_literals_are_escaped(rendered):
    assert rendered("a.md.j2", "{{ x | cell }}", x=EVIL) == "<b>\\|*x* {{ 7 * 7 }}"
    assert rendered("a.md.j2", "{{ x | literal }}", x=EVIL) == "&lt;b&gt;\\|\\*x\\* {{ 7 \\* 7 }}"


def test_an_undefined_name_is_an_error(rendered):
    with pytest.raises(UndefinedError, match="nobody"):
        rendered("a.md.j2", "{{ nobody }}")
