"""The W&B run of a run folder, read back from W&B's own logs: no server, and no account, takes part in it.

    file     7 bytes of header, then blocks of 32 KiB (the format of LevelDB's log, with zlib's CRC-32)
    block    chunks: crc32(kind + data), 4 bytes; length, 2; kind, 1 (whole, first, middle or last of a record); data
    record   a protobuf of W&B's: the run, a change of its config or summary, a row of its history, its exit
    run      a part, so a file, per start of the run; how parts are joined: docs/tracking.md

What is broken, by a crash or on disk, is left out: what stands before it, and in whole blocks behind it, is read.
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
HEADER = struct.Struct("<4sHB")  # :W&B, a magic number, a version
MAGIC = (b":W&B", 0xBEE1, 0)
CHUNK = struct.Struct("<IHB")
WHOLE, FIRST, MIDDLE, LAST = 1, 2, 3, 4
BEGUN_AT = "begun_at"  # the config's key, of the tracker: images that had been shown where this part begins
Row = dict[str, Any]


@dataclass(frozen=True)
class WandbPart:
    """One start of a run, as its log tells it; `exit` is None where the log ends before the run did."""

    path: Path
    id: str = ""
    started: float = 0.0
    config: Row = field(default_factory=dict)
    summary: Row = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)
    exit: int | None = None


@dataclass(frozen=True)
class WandbRun:
    """A W&B run, its parts joined: rows of {"images": n, key: value} in order, the last config, all summaries."""

    id: str
    config: Row
    summary: Row
    rows: list[Row]
    parts: list[WandbPart]


def load_wandb_run(folder: str | Path, run_id: str | None = None) -> WandbRun:
    """The W&B run that is kept in a run folder (in its wandb/), of this id where there are several.

    Raises Mistake where there is none, or where it is open which.
    """
    found = [load_part(path) for path in sorted(Path(folder).glob("wandb/*run-*/run-*.wandb"))]
    parts = sorted((each for each in found if each.id), key=lambda each: each.started)
    ids = sorted({each.id for each in parts})
    if not ids:
        raise Mistake(f"{folder}: no W&B run lies there; logger.mode=offline or online keeps one in wandb/")
    if run_id is None and len(ids) > 1:
        raise Mistake(f"{folder}: several W&B runs lie there, of id {', '.join(ids)}; say which, as run_id")
    if run_id is not None and run_id not in ids:
        raise Mistake(f"{folder}: no W&B run of id {run_id} lies there, but {', '.join(ids)}")
    own = [each for each in parts if each.id == (run_id or ids[0])]
    summary = {key: value for each in own for key, value in each.summary.items()}
    return WandbRun(own[0].id, own[-1].config, summary, join_parts(own), own)


def join_parts(parts: Iterable[WandbPart]) -> list[Row]:
    """The rows of all parts, in the order of `images`, each once, without those that a later part takes back."""
    rows: list[Row] = []
    for each in parts:
        begun = each.config.get(BEGUN_AT, each.rows[0].get("images", 0) if each.rows else None)
        if begun is not None:  # else nothing came of this start
            rows = [row for row in rows if begun and row.get("images", 0) <= begun and not row.get("final")]
        known = {_line(row) for row in rows}
        rows += [row for row in each.rows if _line(row) not in known]
    return sorted(rows, key=lambda row: row.get("images", 0))


def missing_rows(folder: str | Path, run_id: str, rows: Iterable[Row]) -> list[Row]:
    """Those of a run's rows that its W&B logs do not hold: what a part that was killed had not handed over.

    A part that goes on from them tells them first, so that they are there once, in whichever part.
    """
    try:
        known = {_line(row) for row in load_wandb_run(folder, run_id).rows}
    except Mistake:  # no log lies there
        known = set()
    told = ({key: value for key, value in row.items() if key != "seconds"} for row in rows)
    return [row for row in told if _line(row) not in known]


def load_part(path: str | Path) -> WandbPart:
    """What one .wandb file tells; nothing, and no id, where it holds no whole record."""
    wandb: Any = import_module("wandb.proto.wandb_internal_pb2")  # its names are made when it is imported
    told: Row = {}
    config, summary, rows = {}, {}, []
    for data in read_records(Path(path).read_bytes()):
        record = wandb.Record()
        with contextlib.suppress(Exception):  # of protobuf's; a checksum has passed, so another version wrote this
            record.ParseFromString(data)
        kind = record.WhichOneof("record_type")
        if kind == "run":
            told |= {"id": record.run.run_id, "started": record.run.start_time.ToNanoseconds() / 1e9}
            _changed(config, record.run.config)
        elif kind == "config":
            _changed(config, record.config)
        elif kind == "summary":
            _changed(summary, record.summary)
        elif kind == "history":
            rows.append(_put({}, record.history.item))
        elif kind == "exit":
            told["exit"] = record.exit.exit_code
    return WandbPart(Path(path), config=config, summary=summary, rows=rows, **told)


def read_records(log: bytes) -> Iterator[bytes]:
    """Each whole record of a log, in order.  Raises Mistake where it is no W&B log; an empty one holds none."""
    if len(log) < HEADER.size:
        return
    if HEADER.unpack_from(log) != MAGIC:
        raise Mistake("this is no log of a W&B run, or one of another version of the format")
    parts: list[bytes] | None = None  # of a record that has begun
    for kind, data in _chunks(log):
        if kind == WHOLE:
            yield data
        elif kind == LAST and parts is not None:
            yield b"".join([*parts, data])
        parts = [data] if kind == FIRST else [*parts, data] if kind == MIDDLE and parts is not None else None


def _chunks(log: bytes) -> Iterator[tuple[int, bytes]]:
    """(kind, data) of each chunk; kind 0 in the place of what is broken, up to the end of its block."""
    at = HEADER.size
    while at + CHUNK.size <= len(log):
        end = at - at % BLOCK + BLOCK
        if end - at < CHUNK.size:  # too short for a chunk: filled up
            at = end
            continue
        checksum, length, kind = CHUNK.unpack_from(log, at)
        data = log[at + CHUNK.size : min(at + CHUNK.size + length, end)]
        if len(data) == length and kind and zlib.crc32(data, zlib.crc32(bytes([kind]))) == checksum:
            yield kind, data
            at += CHUNK.size + length
        else:
            yield 0, b""
            at = end


def _line(row: Row) -> str:
    return json.dumps(row, sort_keys=True)


def _changed(whole: Row, record: Any) -> None:
    """Put what a record of config or summary says into `whole`."""
    _put(whole, record.update)
    for item in record.remove:
        whole.pop(item.key, None)


def _put(whole: Row, items: Iterable[Any]) -> Row:
    """`whole` with these items in it, but for W&B's own, whose names begin with _."""
    for item in items:
        *path, last = list(item.nested_key) or [item.key]
        if (path or [last])[0].startswith("_"):
            continue
        node = whole
        for key in path:
            node = node.setdefault(key, {})
        node[last] = json.loads(item.value_json)
    return whole
