"""The lists of components: the table with their sources, and the README."""

import runpy
from pathlib import Path

import pytest

from saddlepoint.config import catalogue

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = runpy.run_path(str(ROOT / "scripts" / "list_components.py"))


def test_the_table_of_components_is_that_of_their_docstrings() -> None:
    message = "run python scripts/list_components.py"
    assert (ROOT / "docs" / "components.md").read_text("utf-8") == SCRIPT["page"](), message


@pytest.mark.parametrize("group", [*SCRIPT["GROUPS"], "experiment"])
def test_the_readme_names_every_component(group: str) -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    assert [name for name in catalogue.option_names(group) if f"`{name}`" not in readme] == []


def test_a_row_has_the_first_sentence_without_its_citations_and_every_paper_once() -> None:
    text = "A|B loss: one of de Vries's.  De Vries & Ba 2017 (arXiv:1707.00683), eq. 2.\n\nAlso arXiv:1707.00683."
    assert SCRIPT["first_sentence"](text) == r"A\|B loss: one of de Vries's"
    assert SCRIPT["sources"](text).count("1707.00683") == 1
    assert (
        SCRIPT["first_sentence"]("a class in G: Odena et al. 2016 (arXiv:1610.09585), for any D")
        == "a class in G, for any D"
    )
