"""The table of components with their sources, and their pages on the site."""

import re
import runpy
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = runpy.run_path(str(ROOT / "scripts" / "list_components.py"))


def test_the_table_of_components_is_that_of_their_docstrings() -> None:
    message = "run python scripts/list_components.py"
    assert (ROOT / "docs" / "components.md").read_text("utf-8") == SCRIPT["page"](), message


def test_the_site_has_a_page_of_every_group_of_the_table() -> None:
    pages = re.findall(r"reference/(\w+)\.md", (ROOT / "mkdocs.yml").read_text("utf-8"))
    assert set(SCRIPT["GROUPS"]) == set(pages) - {"commands", "train", "python"}


def test_a_row_has_the_first_sentence_without_its_citations_and_every_paper_once() -> None:
    text = "A|B loss: one of de Vries's.  De Vries & Ba 2017 (arXiv:1707.00683), eq. 2.\n\nAlso arXiv:1707.00683."
    assert SCRIPT["first_sentence"](text) == r"A\|B loss: one of de Vries's"
    assert SCRIPT["sources"](text).count("1707.00683") == 1
    assert (
        SCRIPT["first_sentence"]("a class in G: Odena et al. 2016 (arXiv:1610.09585), for any D")
        == "a class in G, for any D"
    )
