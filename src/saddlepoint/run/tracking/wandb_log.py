"""Reading of W&B's own log files in a run folder, without a server or an account.

    file     7 bytes of header, then blocks of 32 KiB (the format of LevelDB's log, with zlib's CRC-32)
    block    chunks: crc32(kind + data), 4 bytes; length, 2; kind, 1 (full, first, middle or last of a record); data
    record   a protobuf of W&B: the run, a change of its config or summary, a row of its history, its exit
    run      one part, which is one file, per start of the run; how parts are joined: docs/tracking.md

Damaged chunks are skipped: the chunks before them, and those in later blocks, are read.
"""

import contextlib
import json
import struct
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from saddlepoint.error import Mistake

BLOCK = 32_768
HEADER = struct.Struct("<4sHB")  # ":W&B", a magic number, the version
MAGIC = (b":W&B", 0xBEE1, 0)
CHUNK = struct.Struct("<IHB")
FULL, FIRST, MIDDLE, LAST = 1, 2, 3, 4
RESUMED_AT_IMAGES = "begun_at"  # a config key of the tracker: the images at the start of this part
Row = dict[str, Any]


@dataclass(frozen=True)
class WandbPart:
    """One start of a W&B run, read from its log; `exit` is None if the log has no exit record."""

    path: Path
    id: str = ""
    started: float = 0.0
    config: Row = field(default_factory=dict)
    summary: Row = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)
    exit: int | None = None


@dataclass(frozen=True)
class WandbRun:
    """A W&B run with its parts joined: rows {"images": n, key: value} in order, the last config, all summaries."""

    id: str
    config: Row
    summary: Row
    rows: list[Row]
    parts: list[WandbPart]


def load_wandb_run(folder: str | Path, run_id: str | None = None) -> WandbRun:
    """Load the W&B run in a run folder (in its wandb/).

    run_id  required if the folder has several W&B runs
    Raises Mistake if there is none, or if `run_id` is needed and missing.
    """
    all_parts = [load_part(path) for path in sorted(Path(folder).glob("wandb/*run-*/run-*.wandb"))]
    parts = sorted((run_part for run_part in all_parts if run_part.id), key=lambda run_part: run_part.started)
    ids = sorted({run_part.id for run_part in parts})
    if not ids:
        raise Mistake(f"{folder} has no W&B run; logger.mode=offline or online writes one to wandb/")
    if run_id is None and len(ids) > 1:
        raise Mistake(f"{folder} has several W&B runs, with ids {', '.join(ids)}; choose one with run_id")
    if run_id is not None and run_id not in ids:
        raise Mistake(f"{folder} has no W&B run with id {run_id}; there: {', '.join(ids)}")
    run_parts = [run_part for run_part in parts if run_part.id == (run_id or ids[0])]
    summary = {key: value for run_part in run_parts for key, value in run_part.summary.items()}
    return WandbRun(run_parts[0].id, run_parts[-1].config, summary, join_parts(run_parts), run_parts)


def join_parts(parts: Iterable[WandbPart]) -> list[Row]:
    """Join the rows of all parts, in order of `images`, each once, without rows that a later part replaces."""
    rows: list[Row] = []
    for run_part in parts:
        start = run_part.config.get(RESUMED_AT_IMAGES, run_part.rows[0].get("images", 0) if run_part.rows else None)
        if start is not None:  # None: this start logged nothing
            rows = [row for row in rows if start and row.get("images", 0) <= start and not row.get("final")]
        known = {_row_key(row) for row in rows}
        rows += [row for row in run_part.rows if _row_key(row) not in known]
    return sorted(rows, key=lambda row: row.get("images", 0))


def find_missing_rows(folder: str | Path, run_id: str, rows: Iterable[Row]) -> list[Row]:
    """Return the rows of a run that are missing in its W&B logs, because a part was killed before it wrote them.

    The next part logs them first, so that the parts together hold every row once.
    """
    try:
        known = {_row_key(row) for row in load_wandb_run(folder, run_id).rows}
    except Mistake:  # there is no log
        known = set()
    expected = ({key: value for key, value in row.items() if key != "seconds"} for row in rows)
    return [row for row in expected if _row_key(row) not in known]


def load_part(path: str | Path) -> WandbPart:
    """Load one .wandb file; the part is empty, without an id, if the file has no complete record."""
    wandb: Any = import_module("wandb.proto.wandb_internal_pb2")  # typed Any: its names are created at import
    fields: Row = {}
    config, summary, rows = {}, {}, []
    for data in parse_records(Path(path).read_bytes()):
        record = wandb.Record()
        with contextlib.suppress(Exception):  # a protobuf error: another version of W&B wrote this record
            record.ParseFromString(data)
        kind = record.WhichOneof("record_type")
        if kind == "run":
            fields |= {"id": record.run.run_id, "started": record.run.start_time.ToNanoseconds() / 1e9}
            _apply_change(config, record.run.config)
        elif kind == "config":
            _apply_change(config, record.config)
        elif kind == "summary":
            _apply_change(summary, record.summary)
        elif kind == "history":
            rows.append(_put_items({}, record.history.item))
        elif kind == "exit":
            fields["exit"] = record.exit.exit_code
    return WandbPart(Path(path), config=config, summary=summary, rows=rows, **fields)


def parse_records(log: bytes) -> Iterator[bytes]:
    """Yield the complete records of a log, in order; none for an empty one.  Raises Mistake if it is not a W&B log."""
    if len(log) < HEADER.size:
        return
    if HEADER.unpack_from(log) != MAGIC:
        raise Mistake("this is not a log of a W&B run, or it has another version of the format")
    parts: list[bytes] | None = None  # of an incomplete record
    for kind, data in _iterate_chunks(log):
        if kind == FULL:
            yield data
        elif kind == LAST and parts is not None:
            yield b"".join([*parts, data])
        parts = [data] if kind == FIRST else [*parts, data] if kind == MIDDLE and parts is not None else None


def _iterate_chunks(log: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield (kind, data) of each chunk; kind 0 stands for damaged data up to the end of a block."""
    position = HEADER.size
    while position + CHUNK.size <= len(log):
        end = position - position % BLOCK + BLOCK
        if end - position < CHUNK.size:  # padding, too short for a chunk
            position = end
            continue
        checksum, length, kind = CHUNK.unpack_from(log, position)
        data = log[position + CHUNK.size : min(position + CHUNK.size + length, end)]
        if len(data) == length and kind and zlib.crc32(data, zlib.crc32(bytes([kind]))) == checksum:
            yield kind, data
            position += CHUNK.size + length
        else:
            yield 0, b""
            position = end


def _row_key(row: Row) -> str:
    return json.dumps(row, sort_keys=True)


def _apply_change(values: Row, record: Any) -> None:
    """Apply a change of the config or summary to `values`."""
    _put_items(values, record.update)
    for item in record.remove:
        values.pop(item.key, None)


def _put_items(values: Row, items: Iterable[Any]) -> Row:
    """Put `items` into `values` and return it; W&B's own items, whose names start with _, are skipped."""
    for item in items:
        *path, last = list(item.nested_key) or [item.key]
        if (path or [last])[0].startswith("_"):
            continue
        node = values
        for key in path:
            node = node.setdefault(key, {})
        node[last] = json.loads(item.value_json)
    return values
