"""Which score is compared: its key, its contract, and that every run has it under that one contract."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from saddlepoint.comparison.arm import FINISHED
from saddlepoint.comparison.direction import higher_is_better
from saddlepoint.comparison.reading import Record
from saddlepoint.error import Mistake
from saddlepoint.metric.contract import Contract, Score, comparable

SHOWN = 3  # folders that a message names


@dataclass(frozen=True)
class Primary:
    """The one score that a comparison is about."""

    key: str
    contract: Contract
    higher_is_better: bool


def primary(records: Sequence[Record], metric: str | None, said: bool | None = None) -> Primary:
    """The score `metric`, by its key or its metric's name; None: the first that every finished run has.

    Raises Mistake where no run finished, for an unknown metric, for runs that lack it, and for mixed contracts.
    """
    finished = [record for record in records if record.status == FINISHED]
    if not any(record.final for record in finished):
        raise Mistake(f"none of the {len(records)} runs has finished with a score: nothing can be compared yet")
    key = _first(finished) if metric is None else _key(finished, metric)
    if lacking := [record for record in finished if key not in record.final]:
        having = [record for record in finished if key in record.final]
        raise Mistake(
            f"{key} is missing from {_some(lacking)}; {_some(having)} {'has' if len(having) == 1 else 'have'} it.\n"
            "Measure the others by that protocol, saddlepoint evaluate run=..., or name another metric=..."
        )
    found = {str(record.folder): Score.from_dict(dict(record.final[key])) for record in finished}
    comparable(found)
    contract = next(iter(found.values())).contract
    return Primary(key, contract, higher_is_better(contract.metric, said))


def common(records: Sequence[Record], apart: str) -> tuple[list[str], list[str]]:
    """The other keys that every finished run has under one contract; and those whose contracts differ."""
    finished = [record for record in records if record.status == FINISHED]
    keys = [key for key in finished[0].final if key != apart and all(key in record.final for record in finished)]
    mixed = [key for key in keys if _mixed(finished, key)]
    return [key for key in keys if key not in mixed], mixed


def _mixed(records: Sequence[Record], key: str) -> bool:
    return any(record.final[key]["contract"] != records[0].final[key]["contract"] for record in records[1:])


def _first(finished: Sequence[Record]) -> str:
    first = next(record for record in finished if record.final)
    for key in first.final:
        if all(key in record.final for record in finished):
            return key
    without = next(record for record in finished if first.final.keys() - record.final.keys())
    raise Mistake(
        f"no score is common to all runs: {first.folder} has {', '.join(first.final)}, "
        f"{without.folder} {', '.join(without.final) or 'none'}.\n"
        "Measure them by one protocol: saddlepoint evaluate run=..."
    )


def _key(finished: Sequence[Record], metric: str) -> str:
    """The key that `metric` means: itself, or the one key of that metric by the runs' first ruler."""
    contracts = {key: score["contract"] for record in finished for key, score in record.final.items()}
    if metric in contracts:
        return metric
    keys = [key for key, contract in contracts.items() if contract["metric"] == metric]
    ruler = next(iter(contracts.values()))["extractor_sha256"]
    first = [key for key in keys if contracts[key]["extractor_sha256"] == ruler]  # a second one measures them too
    if len(keys) == 1 or len(first) == 1:
        return (first or keys)[0]
    if keys:
        raise Mistake(f"metric={metric} may be {' or '.join(keys)}: name one of them")
    names = list(dict.fromkeys([*contracts, *(contract["metric"] for contract in contracts.values())]))
    near = get_close_matches(metric, names, n=3, cutoff=0.5)
    meant = f" Did you mean {' or '.join(near)}?" if near else f" There are: {', '.join(contracts)}"
    raise Mistake(f"metric={metric}: no run has such a score.{meant}")


def _some(records: Sequence[Record]) -> str:
    """ "3 runs (a, b, c)": the first few folders."""
    folders = [str(record.folder) for record in records[:SHOWN]]
    more = [f"and {len(records) - SHOWN} more"] if len(records) > SHOWN else []
    return f"{len(records)} run{'s' * (len(records) > 1)} ({', '.join(folders + more)})"
