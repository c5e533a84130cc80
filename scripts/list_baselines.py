"""Write the table of reproduced baselines into RESULTS.md, from the certificates: python scripts/list_baselines.py

docs/certificates/<baseline>-<tier>.json is the certificate.json that `saddlepoint reproduce` wrote. There is a row
for each headline, and the baselines of our own protocols are counted apart from the papers'.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "RESULTS.md"
CERTIFICATES = ROOT / "docs" / "certificates"
PROTOCOLS = {"published": "the paper's", "shortened": "a shortened", "own": "our own"}
BEGIN, END = "<!-- written by python scripts/list_baselines.py -->", "<!-- end -->"
COLUMNS = (
    "baseline, tier", "figure", "published", "ours [90% interval]", "seeds", "verdict", "protocol", "command", "commit",
    "hours", "hardware",
)  # fmt: skip


def load_certificates(folder: Path = CERTIFICATES) -> list[dict[str, Any]]:
    """Return all certificates, by name."""
    return [json.loads(path.read_text("utf-8")) for path in sorted(folder.glob("*.json"))]


def number(x: float | None) -> str:
    """Return a number with four significant digits."""
    return "none" if x is None else f"{x:.4g}"


def published(figure: Mapping[str, Any]) -> str:
    """Return the paper's figure, or its words."""
    if figure.get("value") is None:
        return str(figure.get("said") or "no figure")
    spread = f" ± {figure['spread']:g}" if figure.get("spread") is not None else ""
    return f"{figure['value']:g}{spread}"


def rows(certificate: Mapping[str, Any]) -> Iterator[Sequence[str]]:
    """Yield the cells of each headline; what all headlines share stands in the first row only."""
    hardware = certificate["environments"][0]["hardware"] if certificate["environments"] else {}
    shared = (
        f"`{' '.join(certificate['argv'])}`",
        str(certificate["code"]["commit"] or certificate["code"]["version"])[:7],
        f"{certificate['hours']['spent']:.2f}",
        f"{hardware.get('processor', 'unknown')}, {hardware.get('cores', '?')} cores",
    )
    for i, headline in enumerate(certificate["headlines"]):
        low, high = headline["interval"] or (None, None)
        baseline, tier = certificate["baseline"], certificate["tier"]
        name = f"[`{baseline}`, {tier}](docs/certificates/{baseline}-{tier}.json): **{certificate['verdict']}**"
        yield (
            "" if i else name,
            f"{headline['name']}, {headline['statistic']} of `{headline['metric']}`",
            published(headline["published"]),
            f"{number(headline['measured'])} [{number(low)}, {number(high)}]",
            str(headline["n"]),
            headline["verdict"],
            "" if i else PROTOCOLS[certificate["protocol"]],
            *(("",) * len(shared) if i else shared),
        )


def summary(certificates: Sequence[Mapping[str, Any]]) -> str:
    """Return the number of baselines, and of those met, by the kind of their protocol."""
    parts = []
    for kind, name in PROTOCOLS.items():
        verdicts = [c["verdict"] for c in certificates if c["protocol"] == kind]
        parts.append(f"{len(verdicts)} with {name} protocol, {verdicts.count('MET')} of them MET")
    return f"Certificates: {len(certificates)}. {'; '.join(parts)}.\n"


def table(certificates: Sequence[Mapping[str, Any]]) -> str:
    """Return what stands between BEGIN and END in RESULTS.md."""
    lines = [COLUMNS, ("---",) * len(COLUMNS), *(row for c in certificates for row in rows(c))]
    return f"{summary(certificates)}\n" + "".join(f"| {' | '.join(line)} |\n" for line in lines)


def page(text: str, certificates: Sequence[Mapping[str, Any]]) -> str:
    """Return RESULTS.md with the table of the certificates."""
    head, rest = text.split(BEGIN)
    return f"{head}{BEGIN}\n\n{table(certificates)}\n{END}{rest.split(END)[1]}"


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text("utf-8"), load_certificates()), "utf-8")
