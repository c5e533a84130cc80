"""W&B's own logs are read back whole; of what a crash leaves, the beginning; and the parts of a run are one run."""

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
    join_parts,
    load_part,
    load_wandb_run,
    missing_rows,
    read_records,
)

internal: Any = _internal
Rows = list[dict[str, Any]]


def log(told: Sequence[bytes]) -> bytes:
    """A log that holds these records, written from the description of the format, a byte at a time."""
    out = bytearray(b":W&B\xe1\xbe\x00")
    for record in told:
        rest, begun = record, False
        while rest or not begun:
            room = 32768 - len(out) % 32768
            if room < 7:
                out += bytes(room)
                continue
            now, rest = rest[: room - 7], rest[room - 7 :]
            kind = (4 if begun else 1) if not rest else (3 if begun else 2)
            crc = zlib.crc32(bytes([kind]) + now)
            out += crc.to_bytes(4, "little") + len(now).to_bytes(2, "little") + bytes([kind]) + now
            begun = True
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


def kept(folder: Path, name: str, told: Sequence[bytes], run_id: str = "one") -> Path:
    path = folder / "wandb" / f"offline-run-{name}" / f"run-{run_id}.wandb"
    path.parent.mkdir(parents=True)
    path.write_bytes(log(told))
    return path


def rows(*images: int, of: str = "a", **more: Any) -> Rows:
    return [{"images": n, "loss": f"{of}{n}", **more} for n in images]


# ------------------------------------------------------------------------------------------------------- one log


@pytest.mark.parametrize("sizes", [[5, 0, 9], [32754], [32753, 1], [32755, 3], [32747, 4], [100_000, 7, 70_000], []])
def test_a_log_gives_back_its_records_wherever_its_blocks_end(sizes: list[int]) -> None:
    told = [bytes([65 + i]) * n for i, n in enumerate(sizes)]
    assert list(read_records(log(told))) == told


def test_a_log_that_was_cut_short_gives_a_beginning_of_its_records() -> None:
    told = [bytes([65 + i]) * n for i, n in enumerate((40, 33_000, 10, 5))]
    whole = log(told)
    counts = [len(found) for cut in [*range(0, len(whole), 97), len(whole)] if (found := read(whole[:cut], told)) >= []]
    assert counts[0] == 0
    assert counts[-1] == len(told)
    assert all(before <= after for before, after in pairwise(counts))


def read(log: bytes, told: list[bytes]) -> list[bytes]:
    found = list(read_records(log))
    assert found == told[: len(found)]
    return found


def test_a_flipped_byte_costs_records_of_its_block_and_makes_none() -> None:
    told = [f"{i:0100d}".encode() for i in range(600)]  # two blocks
    whole = log(told)
    for at in range(7, len(whole), 997):
        found = list(read_records(whole[:at] + bytes([whole[at] ^ 0x40]) + whole[at + 1 :]))
        assert set(found) < set(told)
        assert len(found) >= len(told) - 32_768 // 107 - 1


def test_what_is_no_log_is_refused_and_an_empty_one_is_empty() -> None:
    with pytest.raises(Mistake, match="no log of a W&B run"):
        list(read_records(b"PK\x03\x04 and more of it"))
    assert list(read_records(b"")) == []


def test_a_part_tells_its_config_rows_and_end_and_nothing_of_w_and_bs_own(tmp_path: Path) -> None:
    summary, end = internal.Record(), internal.Record()
    summary.summary.update.add(nested_key=["samples", "width"], value_json="5")
    summary.summary.update.add(key="_runtime", value_json="9")
    end.exit.exit_code = 3
    told = [started("one", 0, 50), history({"images": 1, "loss": 0.5}), summary.SerializeToString()]
    found = load_part(kept(tmp_path, "x", [*told, end.SerializeToString()]))
    assert (found.id, found.started, found.exit) == ("one", 50.0, 3)
    assert found.config == {"seed": 3, "begun_at": 0}
    assert found.rows == [{"images": 1, "loss": 0.5}]
    assert found.summary == {"samples": {"width": 5}}
    assert load_part(kept(tmp_path, "y", told)).exit is None


# ------------------------------------------------------------------------------------------------------ its parts


def test_a_later_part_takes_back_what_came_after_its_checkpoint() -> None:
    one = WandbPart(Path(), config={"begun_at": 0}, rows=[*rows(0, 64, 128, 192), *rows(192, final=True)])
    two = WandbPart(Path(), config={"begun_at": 128}, rows=rows(192, 256, of="b"))
    assert join_parts([one, two]) == [*rows(0, 64, 128), *rows(192, 256, of="b")]


def test_an_end_that_was_gone_on_from_is_no_end() -> None:
    one = WandbPart(Path(), config={"begun_at": 0}, rows=[*rows(64), *rows(64, final=True)])
    two = WandbPart(Path(), config={"begun_at": 64}, rows=rows(128, of="b"))
    assert join_parts([one, two]) == [*rows(64), *rows(128, of="b")]


def test_a_part_that_began_anew_takes_back_everything() -> None:
    parts = [WandbPart(Path(), config={"begun_at": 0}, rows=rows(0, 64, of=each)) for each in "ab"]
    assert join_parts(parts) == rows(0, 64, of="b")


def test_parts_that_do_not_say_where_they_begin_are_joined_by_their_first_row() -> None:
    parts = [WandbPart(Path(), rows=rows(64, 128)), WandbPart(Path()), WandbPart(Path(), rows=rows(192, 256, of="b"))]
    assert join_parts(parts) == [*rows(64, 128), *rows(192, 256, of="b")]


def test_the_parts_of_a_run_are_found_by_their_time_and_another_run_is_named(tmp_path: Path) -> None:
    kept(tmp_path, "b", [started("one", 0, 50), *map(history, rows(64, 128))])
    kept(tmp_path, "a", [started("one", 64, 60), *map(history, rows(128, of="b"))])
    cut = kept(tmp_path, "c", [started("one", 128, 70)])
    cut.write_bytes(cut.read_bytes()[:9])
    found = load_wandb_run(tmp_path)
    assert found.rows == [*rows(64), *rows(128, of="b")]
    assert (found.id, found.config["begun_at"], len(found.parts)) == ("one", 64, 2)
    kept(tmp_path, "d", [started("other", 0, 80)], "other")
    assert load_wandb_run(tmp_path, "other").rows == []
    with pytest.raises(Mistake, match="of id one, other; say which"):
        load_wandb_run(tmp_path)
    with pytest.raises(Mistake, match="no W&B run of id on lies there, but one, other"):
        load_wandb_run(tmp_path, "on")
    with pytest.raises(Mistake, match="no W&B run lies there"):
        load_wandb_run(tmp_path / "elsewhere")
    assert wandb_log.BEGUN_AT == "begun_at"


def test_what_a_part_that_was_killed_did_not_tell_is_told_by_the_next_and_stands_in_its_place(tmp_path: Path) -> None:
    path = kept(tmp_path, "a", [started("one", 0, 50), *map(history, rows(64, 192))])
    own = [{**row, "seconds": 1.5} for row in rows(64, 128, 192)]
    missing = missing_rows(tmp_path, "one", own)
    assert missing == rows(128)
    assert missing_rows(tmp_path, "other", own) == rows(64, 128, 192)
    kept(tmp_path, "b", [started("one", 192, 60), *map(history, [*missing, *rows(256)])])
    assert load_wandb_run(tmp_path).rows == rows(64, 128, 192, 256)
    path.write_bytes(log([started("one", 0, 50), *map(history, rows(64, 128, 192))]))  # W&B's process was still at it
    assert load_wandb_run(tmp_path).rows == rows(64, 128, 192, 256)


def test_a_run_has_ended_when_its_log_holds_its_end_which_may_be_a_moment_later(tmp_path, monkeypatch):
    from types import SimpleNamespace

    from saddlepoint.run.tracking import wandb_session
    from saddlepoint.run.tracking.wandb_log import WandbPart

    (tmp_path / "run-1.wandb").write_bytes(b"")
    read = []

    def part(path):
        read.append(path)
        return WandbPart(path, exit=0 if len(read) == 3 else None)

    monkeypatch.setattr(session, "part", part)
    finished = []
    run = SimpleNamespace(dir=str(tmp_path / "files"), finish=lambda exit_code: finished.append(exit_code))
    assert wandb_session.finish_run(run, 3)
    assert (finished, len(read)) == ([3], 3)
    monkeypatch.setattr(session, "WRITTEN", 0.05)
    read[:] = [None] * 3
    assert wandb_session.finish_run(run)  # a log that never holds it keeps nobody waiting
