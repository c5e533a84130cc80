"""The run folder: written atomically, rewound exactly, locked by one process."""

import json
import subprocess
import sys

import pytest

from saddlepoint.error import Mistake
from saddlepoint.redaction import shorten_home
from saddlepoint.run.folder import Run, write_file
from saddlepoint.run.journal import RunJournal
from saddlepoint.run.provenance import provenance


def test_rows_are_read_in_order_and_a_truncated_line_is_skipped(tmp_path):
    run = Run(tmp_path)
    for images in (10, 20, 30):
        run.append("metrics.jsonl", {"images": images, "loss": 0.1 * images})
    with run.metrics.open("a") as file:
        file.write('{"images": 40, "lo')
    assert [row["images"] for row in run.rows()] == [10, 20, 30]


def test_rewinding_deletes_only_later_rows_and_final_scores(tmp_path):
    run = Run(tmp_path)
    rows = [
        {"images": 0, "fid": 9},
        {"images": 10},
        {"images": 20, "fid": 3},
        {"images": 20, "fid": 3, "final": True},
        {"images": 30},
    ]
    for row in rows:
        run.append("metrics.jsonl", row)
    run.discard_after(20)
    assert list(run.rows()) == rows[:3]


def test_seconds_continue_from_an_earlier_part(tmp_path):
    run = Run(tmp_path)
    run.append("metrics.jsonl", {"images": 10, "seconds": 1000.0})
    journal = RunJournal(run)
    journal.log_metrics({"a": 1}, step=20)
    assert list(run.rows())[-1]["seconds"] >= 1000


def test_a_folder_locked_by_another_process_is_refused_and_free_after_its_death(tmp_path):
    code = (
        "import sys, time; from saddlepoint.run.folder import Run\n"
        f"with Run({str(tmp_path / 'a' / 'seed0')!r}).lock():\n"
        "    print('held', flush=True); time.sleep(60)"
    )
    holder = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout.readline().strip() == "held"
        since = rf"in use: another process is training there \(process {holder.pid}, since 2\d+-\d\d-\d\d [\d:]+ UTC\)"
        with pytest.raises(Mistake, match=since), Run(tmp_path / "a" / "seed0").lock():
            pass
    finally:
        holder.kill()
        holder.wait()
    with Run(tmp_path / "a" / "seed0").lock():
        pass


def test_a_path_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(Mistake, match=r"cannot write .*outputs="), Run(tmp_path / "file" / "a" / "seed0").lock():
        pass
    with pytest.raises(Mistake, match="cannot write"):
        write_file(tmp_path / "file" / "x.json", "{}")


def test_a_failed_write_keeps_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "summary.json"
    write_file(path, "old")
    monkeypatch.setattr("os.fsync", lambda fd: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(Mistake, match="No space left"):
        write_file(path, "new")
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["summary.json"]


def test_runs_that_are_moved_aside_get_different_names(tmp_path):
    for content in ("first", "second"):
        run = Run(tmp_path / "seed0")
        run.folder.mkdir()
        (run.folder / "note").write_text(content)
        run.move_aside()
    assert (tmp_path / "seed0-old1" / "note").read_text() == "first"
    assert (tmp_path / "seed0-old2" / "note").read_text() == "second"


def test_provenance_is_json_and_redacts_the_home_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert shorten_home(f"data.root={tmp_path}/mnist") == "data.root=~/mnist"
    monkeypatch.setattr(sys, "argv", ["saddlepoint", "train", f"data.root={tmp_path}/mnist"])
    text = json.dumps(provenance({"name": "digits"}, 3))
    assert str(tmp_path) not in text
    assert {"started", "argv", "seed", "git", "python", "packages", "hardware", "data"} <= set(json.loads(text))
