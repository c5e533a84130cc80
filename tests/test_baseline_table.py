"""The table of baselines in RESULTS.md is that of the committed certificates."""

import hashlib
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = runpy.run_path(str(ROOT / "scripts" / "list_baselines.py"))
CERTIFICATES = SCRIPT["load_certificates"]()


def test_the_table_of_baselines_is_that_of_the_certificates() -> None:
    text = (ROOT / "RESULTS.md").read_text("utf-8")
    assert SCRIPT["page"](text, CERTIFICATES) == text, "run python scripts/list_baselines.py"


@pytest.mark.parametrize("certificate", CERTIFICATES, ids=lambda c: f"{c['baseline']}-{c['tier']}")
def test_a_certificate_is_one_of_the_baseline_in_this_repository(certificate) -> None:
    content = (ROOT / "conf" / "baseline" / f"{certificate['baseline']}.yaml").read_bytes()
    assert certificate["certificate"]
    assert certificate["code"]["commit"]
    assert certificate["file"]["sha256"] == hashlib.sha256(content).hexdigest(), "edited after its runs"


def test_every_headline_has_a_row_and_each_kind_of_protocol_its_count() -> None:
    headline = {"name": "error", "statistic": "mean", "metric": "error_test", "n": 3, "verdict": "NOT MET"}
    a = headline | {"published": {"value": 0.0093, "spread": 0.00065}, "measured": 0.0123456, "interval": [0.01, 0.02]}
    b = headline | {"name": "modes", "published": {"said": "all"}, "measured": 8.0, "interval": None}
    certificate = {
        "baseline": "x", "tier": "full", "verdict": "NOT MET", "protocol": "own", "headlines": [a, b],
        "argv": ["saddlepoint"], "environments": [], "code": {"commit": "0123456789"}, "hours": {"spent": 1.5},
    }  # fmt: skip
    first, second = SCRIPT["rows"](certificate)
    assert first[2:6] == ("0.0093 ± 0.00065", "0.01235 [0.01, 0.02]", "3", "NOT MET")
    assert second[2:4] == ("all", "8 [none, none]")
    assert set(second[6:]) == {""}
    both = [certificate, certificate | {"protocol": "published", "verdict": "MET"}]
    assert "1 with the paper's protocol, 1 of them MET" in SCRIPT["summary"](both)
    assert "1 with our own protocol, 0 of them MET" in SCRIPT["summary"](both)
