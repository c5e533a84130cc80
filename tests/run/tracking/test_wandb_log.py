"""W&B's own logs are read back completely, or up to a damage, and the parts of a run are joined."""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import wandb.proto.wandb_internal_pb2 as _internal

from saddlepoint.error import Mistake
from saddlepoint.run.tracking import wandb_log
from saddlepoint.run.tracking.wandb_log import (
    WandbPart,
    find_missing_rows,
    join_parts,
    load_part,
    load_wandb_run,
    parse_records,
)

internal: Any = _internal
Rows = list[dict[str, Any]]


def log(contents: Sequence[bytes]) -> bytes:
    """Return a log with these records, written independently from the description of the format."""
    out = bytearray(b":W&B\xe1\xbe\x00")
    for record in contents:
        remaining, has_started = record, False
        while remaining or not has_started:
            space = 32768 - len(out) % 32768
            if space < 7:
                out += bytes(space)
                continue
            chunk, remaining = remaining[: space - 7], remaining[space - 7 :]
            kind = (4 if has_started else 1) if not remaining else (3 if has_started else 2)
            crc = zlib.crc32(bytes([kind]) + chunk)
            out += crc.to_bytes(4, "little") + len(chunk).to_bytes(2, "little") + bytes([kind]) + chunk
            has_started = True
    return bytes(out)


def started(run_id: str, begun_at: int | None, at: int) -> bytes:
    record = internal.Record()
    record.run.run_id = run_id
    record.run.start_time.FromSeconds(at)
    for key, value in {"seed": 3, **({} if begun_at is None else {"begun_at": begun_at})}.items():
        record.run.config.update.add(key=key, value_json=json.dumps(value))
    return record.SerializeToString()


def history(row: dict[str, Any]) -> bytes:
    record = internal.Record()
    for key, value in {**row, "_step": 1, "_timestamp": 2.0}.items():
        record.history.item.add(nested_key=[key], value_json=json.dumps(value))
    return record.SerializeToString()


def write_log(folder: Path, name: str, contents: Sequence[bytes], run_id: str = "one") -> Path:
    path = folder / "wandb" / f"offline-run-{name}" / f"run-{run_id}.wandb"
    path.parent.mkdir(parents=True)
    path.write_bytes(log(contents))
    return path


def rows(*images: int, of: str = "a", **more: Any) -> Rows:
    return [{"images": n, "loss": f"{of}{n}", **more} for n in images]


# ------------------------------------------------------------------------------------------------------- one log


@pytest.mark.parametrize("sizes", [[5, 0, 9], [32754], [32753, 1], [32755, 3], [32747, 4], [100_000, 7, 70_000], []])
def test_records_are_read_back_for_any_block_boundaries(sizes: list[int]) -> None:
    contents = [bytes([65 + i]) * n for i, n in enumerate(sizes)]
    assert list(parse_records(log(contents))) == contents


def test_a_truncated_log_gives_its_first_records() -> None:
    contents = [bytes([65 + i]) * n for i, n in enumerate((40, 33_000, 10, 5))]
    data = log(contents)
    counts = [
        len(first_records)
        for cut in [*range(0, len(data), 97), len(data)]
        if (first_records := read_prefix(data[:cut], contents)) >= []
    ]
    assert counts[0] == 0
    assert counts[-1] == len(contents)
    assert all(before <= after for before, after in pairwise(counts))


def read_prefix(log: bytes, contents: list[bytes]) -> list[bytes]:
    records_read = list(parse_records(log))
    assert records_read == contents[: len(records_read)]
    return records_read


def test_a_flipped_byte_loses_only_records_of_its_block() -> None:
    contents = [f"{i:0100d}".encode() for i in range(600)]  # two blocks
    data = log(contents)
    for at in range(7, len(data), 997):
        remaining = list(parse_records(data[:at] + bytes([data[at] ^ 0x40]) + data[at + 1 :]))
        assert set(remaining) < set(contents)
        assert len(remaining) >= len(contents) - 32_768 // 107 - 1


def test_another_file_is_refused_and_an_empty_log_has_no_records() -> None:
    with pytest.raises(Mistake, match="not a log of a W&B run"):
        list(parse_records(b"PK\x03\x04 and more of it"))
    assert list(parse_records(b"")) == []


def test_a_part_has_its_config_rows_and_exit_without_the_items_of_wandb(tmp_path: Path) -> None:
    summary, end = internal.Record(), internal.Record()
    summary.summary.update.add(nested_key=["samples", "width"], value_json="5")
    summary.summary.update.add(key="_runtime", value_json="9")
    end.exit.exit_code = 3
    contents = [started("one", 0, 50), history({"images": 1, "loss": 0.5}), summary.SerializeToString()]
    run_part = load_part(write_log(tmp_path, "x", [*contents, end.SerializeToString()]))
    assert (run_part.id, run_part.started, run_part.exit) == ("one", 50.0, 3)
    assert run_part.config == {"seed": 3, "begun_at": 0}
    assert run_part.rows == [{"images": 1, "loss": 0.5}]
    assert run_part.summary == {"samples": {"width": 5}}
    assert load_part(write_log(tmp_path, "y", contents)).exit is None


# ------------------------------------------------------------------------------------------------------ its parts


def test_a_later_part_replaces_rows_after_its_checkpoint() -> None:
    one = WandbPart(Path(), config={"begun_at": 0}, rows=[*rows(0, 64, 128, 192), *rows(192, final=True)])
    two = WandbPart(Path(), config={"begun_at": 128}, rows=rows(192, 256, of="b"))
    assert join_parts([one, two]) == [*rows(0, 64, 128), *rows(192, 256, of="b")]


def test_the_final_row_of_a_resumed_part_is_dropped() -> None:
    one = WandbPart(Path(), config={"begun_at": 0}, rows=[*rows(64), *rows(64, final=True)])
    two = WandbPart(Path(), config={"begun_at": 64}, rows=rows(128, of="b"))
    assert join_parts([one, two]) == [*rows(64), *rows(128, of="b")]


def test_a_part_that_started_again_replaces_all_rows() -> None:
    parts = [WandbPart(Path(), config={"begun_at": 0}, rows=rows(0, 64, of=each)) for each in "ab"]
    assert join_parts(parts) == rows(0, 64, of="b")


def test_parts_without_a_start_are_joined_by_their_first_row() -> None:
    parts = [WandbPart(Path(), rows=rows(64, 128)), WandbPart(Path()), WandbPart(Path(), rows=rows(192, 256, of="b"))]
    assert join_parts(parts) == [*rows(64, 128), *rows(192, 256, of="b")]


def test_parts_are_ordered_by_time_and_several_runs_need_an_id(tmp_path: Path) -> None:
    write_log(tmp_path, "b", [started("one", 0, 50), *map(history, rows(64, 128))])
    write_log(tmp_path, "a", [started("one", 64, 60), *map(history, rows(128, of="b"))])
    cut = write_log(tmp_path, "c", [started("one", 128, 70)])
    cut.write_bytes(cut.read_bytes()[:9])
    wandb_run = load_wandb_run(tmp_path)
    assert wandb_run.rows == [*rows(64), *rows(128, of="b")]
    assert (wandb_run.id, wandb_run.config["begun_at"], len(wandb_run.parts)) == ("one", 64, 2)
    write_log(tmp_path, "d", [started("other", 0, 80)], "other")
    assert load_wandb_run(tmp_path, "other").rows == []
    with pytest.raises(Mistake, match="with ids one, other; choose one"):
        load_wandb_run(tmp_path)
    with pytest.raises(Mistake, match="no W&B run with id on; there: one, other"):
        load_wandb_run(tmp_path, "on")
    with pytest.raises(Mistake, match="has no W&B run"):
        load_wandb_run(tmp_path / "elsewhere")
    assert wandb_log.RESUMED_AT_IMAGES == "begun_at"


def test_rows_that_a_killed_part_did_not_log_are_logged_by_the_next_in_order(tmp_path: Path) -> None:
    path = write_log(tmp_path, "a", [started("one", 0, 50), *map(history, rows(64, 192))])
    rows_of_run = [{**row, "seconds": 1.5} for row in rows(64, 128, 192)]
    missing = find_missing_rows(tmp_path, "one", rows_of_run)
    assert missing == rows(128)
    assert find_missing_rows(tmp_path, "other", rows_of_run) == rows(64, 128, 192)
    write_log(tmp_path, "b", [started("one", 192, 60), *map(history, [*missing, *rows(256)])])
    assert load_wandb_run(tmp_path).rows == rows(64, 128, 192, 256)
    path.write_bytes(
        log([started("one", 0, 50), *map(history, rows(64, 128, 192))])
    )  # the process of W&B was still writing
    assert load_wandb_run(tmp_path).rows == rows(64, 128, 192, 256)


def test_finishing_a_run_waits_for_the_exit_record_in_its_log(tmp_path, monkeypatch):
    from types import SimpleNamespace

    from saddlepoint.run.tracking import wandb_session
    from saddlepoint.run.tracking.wandb_log import WandbPart

    (tmp_path / "run-1.wandb").write_bytes(b"")
    calls = []

    def load_part(path):
        calls.append(path)
        return WandbPart(path, exit=0 if len(calls) == 3 else None)

    monkeypatch.setattr(wandb_session, "load_part", load_part)
    finished = []
    run = SimpleNamespace(dir=str(tmp_path / "files"), finish=lambda exit_code: finished.append(exit_code))
    assert wandb_session.finish_run(run, 3)
    assert (finished, len(calls)) == ([3], 3)
    monkeypatch.setattr(wandb_session, "LOG_WAIT_SECONDS", 0.05)
    calls[:] = [None] * 3
    assert wandb_session.finish_run(run)  # it does not wait forever for a log without an exit record
