"""Write docs/components.md, the table of all components with their sources: python scripts/list_components.py

What a component is, is the first sentence of its module's docstring, or of the comment in its YAML file if it has no
module of its own. Its sources are the papers with an arXiv number in this text.
"""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "components.md"
GROUPS = (
    "objective", "regularizer", "layer", "architecture", "game", "optimizer", "prior", "schedule", "metric", "data",
    "callback", "extractor", "protocol", "experiment",
)  # fmt: skip
HEADER = """# Components

Each is selected as `group=name`; lists and positions: [Compose a run](composing.md). The equations,
shapes and settings are at the top of each file. Written by `python scripts/list_components.py`; a test compares it
with the files.
"""
CITATION = re.compile(r"(?:[A-Z][a-z'-]+, )*(?:de )?[A-Z][\w'-]+(?: et al\.| & [A-Z][\w'-]+)? \d{4}")


def describe(group: str, name: str) -> str:
    """Return the docstring of a component's module, or the comment at the top of its YAML file."""
    module = ROOT / "src" / "saddlepoint" / group / f"{name}.py"
    if module.exists():
        return ast.get_docstring(ast.parse(module.read_text("utf-8"))) or ""
    lines = (ROOT / "conf" / group / f"{name}.yaml").read_text("utf-8").splitlines()
    comments = [line.lstrip("# ") for line in lines if line.startswith("#") and not line.startswith("# @package")]
    return "\n".join(comments)


def first_sentence(text: str) -> str:
    """Return the first sentence of the first paragraph, without its citations, as the text of a table cell."""
    paragraph = " ".join(text.split("\n\n")[0].split("\n"))
    sentence = re.split(r"(?<!al)\.\s+(?=[A-Z])|\.$", paragraph)[0]
    sentence = re.sub(rf"[:,]? \([^()]*{CITATION.pattern}[^()]*\)", "", sentence)
    sentence = re.sub(rf"[:,]? {CITATION.pattern} \(arXiv:[^()]*\)(, (section|appendix) [\w.]+)?", "", sentence)
    return " ".join(sentence.split()).replace("|", r"\|").replace("*", r"\*")


def sources(text: str) -> str:
    """Return the papers of a text, each linked once."""
    papers = {}
    for match in re.finditer(r"arXiv:\s*(\d{4}\.\d{4,5})", text):
        names = CITATION.findall(text[max(0, match.start() - 160) : match.start()].replace("\n", " "))
        papers.setdefault(match[1], names[-1] if names else f"arXiv {match[1]}")
    return ", ".join(f"[{name}](https://arxiv.org/abs/{number})" for number, name in papers.items()) or "-"


def page() -> str:
    """Return the content of docs/components.md."""
    parts = [HEADER]
    for group in GROUPS:
        parts.append(f"\n## {group}\n\n| name | what it is | source |\n|---|---|---|\n")
        for name in sorted(path.stem for path in (ROOT / "conf" / group).glob("*.yaml")):
            text = describe(group, name)
            parts.append(f"| `{name}` | {first_sentence(text)} | {sources(text)} |\n")
    return "".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
