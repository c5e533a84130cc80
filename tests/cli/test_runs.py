"""saddlepoint runs: a row per run with what to do next, and an index whose links exist."""

from __future__ import annotations

import json
import re
from pathlib import Path
from urllib.parse import unquote

import pytest
from folders import KEY, run

from saddlepoint.cli import main


@pytest.fixture
def outputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Runs that ended in each way, in the folder `out puts` of the working directory."""
    monkeypatch.chdir(tmp_path)
    root = tmp_path / "out puts"
    run(root, "good", 0, 7.25)
    (root / "good" / "seed0" / "samples" / "000001000.png").write_bytes(b"png")
    run(root, "good", 1, None, measured={})
    collapsed = run(root, "alarmed", 0, 30.0)
    (collapsed / "postmortem.md").write_text("collapse")
    diverged = run(root, "diverged", 0, status="diverged")
    (diverged / "dumps").mkdir()
    for images in (64, 640):
        (diverged / "dumps" / f"{images}.pt").write_bytes(b"")
    run(root, "failed", 0, status="failed", summary={"error": "mylosses.py:12: ValueError: no\nmore"})
    stopped = run(root, "stopped", 0, status="interrupted", summary={"images": 300, "seconds": 75.0})
    provenance = json.loads((stopped / "provenance.json").read_text())
    argv = [".venv/bin/saddlepoint", "train", "objective=hinge", "name=my run"]
    (stopped / "provenance.json").write_text(json.dumps({**provenance, "argv": argv}))
    run(root, "killed", 0, status="running", summary={"images": 0, "seconds": None}, curve=[(500, 9.0)], final=None)
    (root / "killed" / ".seed0.yaml").write_text("")
    (root / "killed" / ".seed1.yaml").write_text("")
    (root / "comparison-0123abcd").mkdir()
    (root / "comparison-0123abcd" / "report.html").write_text("")
    return root


def plain(outputs: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, dict]:
    assert main(["runs", f"outputs={outputs.name}", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["runs"]
    return {row["folder"].partition("/")[2]: row for row in rows}


def test_each_run_has_its_status_its_scores_and_the_next_step(
    outputs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = plain(outputs, capsys)
    assert {name: (row["status"], row.get("next")) for name, row in rows.items()} == {
        "good/seed0": ("finished", ""),
        "good/seed1": ("finished", "saddlepoint evaluate run='out puts/good/seed1'"),
        "alarmed/seed0": ("finished", "read postmortem.md"),
        "diverged/seed0": ("diverged", "saddlepoint replay dump='out puts/diverged/seed0/dumps/640.pt'"),
        "failed/seed0": ("failed", "mylosses.py:12: ValueError: no"),
        "stopped/seed0": ("interrupted", "continue: saddlepoint train objective=hinge 'name=my run'"),
        "killed/seed0": ("killed", "continue: repeat the saddlepoint train -m that started it"),
        "killed/seed1": ("not started", None),
    }
    assert rows["good/seed0"]["scores"] == {KEY: 7.25}
    assert (rows["killed/seed0"]["images"], rows["killed/seed0"]["seconds"]) == (500, 5.0), "of its last event"


def test_the_table_fits_a_terminal_and_shows_progress(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["runs", f"outputs={outputs.name}"]) == 0
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines())) <= 80
    assert "8 runs in out puts" in printed
    assert re.search(r"good/seed0 .*7\.25", printed)
    assert re.search(r"stopped/seed0 +interrupted +300 of 1,000 +75 s", printed)


def test_the_runs_of_an_experiments_folder_inside_are_listed_too(
    outputs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(outputs / "study", "digits-hinge", 3, 5.0)
    rows = plain(outputs, capsys)
    assert rows["study/digits-hinge/seed3"]["scores"] == {KEY: 5.0}
    assert len(rows) == 9


def test_every_link_of_the_index_exists(outputs: Path, tmp_path: Path) -> None:
    assert main(["runs", f"outputs={outputs.name}", "to=pages/index.html"]) == 0
    page = (tmp_path / "pages" / "index.html").read_text("utf-8")
    links = [unquote(link) for link in re.findall(r'(?:href|src)="([^"]+)"', page)]
    assert [link for link in links if not (tmp_path / "pages" / link).exists()] == []
    names = {Path(link).name for link in links}
    assert names == {"000001000.png", "summary.json", "config.yaml", "postmortem.md", "report.html"}


def test_the_index_is_written_beside_the_runs_and_escapes_their_texts(
    outputs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(outputs, "evil", 0, status="failed", summary={"error": "<script>alert(1)</script>"})
    assert main(["runs", f"outputs={outputs.name}"]) == 0
    page = (outputs / "index.html").read_text("utf-8")
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert" in page


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["outputs=nowhere"], "no run in outputs=nowhere: looked for <name>/seed<k>/config.yaml, and nothing is there"),
        (["to=index.txt"], "to=index.txt: the index is an .html file"),
    ],
)
def test_a_mistake_is_a_line(outputs: Path, words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["runs", f"outputs={outputs.name}", *words]) == 1
    assert message in capsys.readouterr().err
    assert not (outputs / "index.html").exists()
