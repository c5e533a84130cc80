"""The primary score of a comparison: its key and contract, which every run must share."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from saddlepoint.comparison.arms.arm import FINISHED
from saddlepoint.comparison.arms.direction import higher_is_better
from saddlepoint.comparison.arms.record import Record
from saddlepoint.error import Mistake, did_you_mean
from saddlepoint.evaluation.contract import Contract, Score, check_comparable

MAX_SHOWN = 3  # folders that a message names


@dataclass(frozen=True)
class PrimaryScore:
    """The one score that a comparison tests."""

    key: str
    contract: Contract
    higher_is_better: bool


def primary_score(records: Sequence[Record], metric: str | None, requested: bool | None = None) -> PrimaryScore:
    """Return the score `metric`, a key or the name of a metric; None: the first that every finished run has.

    `requested` is the user's higher_is_better. A run that was measured without getting a value is a failure, not an
    error. Raises Mistake if no run finished, for an unknown metric, for runs that were not measured by it, and for
    mixed contracts.
    """
    finished = [record for record in records if record.status == FINISHED]
    if not any(record.final_scores for record in finished):
        raise Mistake(f"none of the {len(records)} runs has finished with a score: nothing can be compared yet")
    key = _first_common_key(finished) if metric is None else find_key(finished, metric)
    measured = [record for record in finished if key in record.final_scores]
    contract = Score.from_dict(dict(measured[0].final_scores[key])).contract
    without = [r for r in finished if key not in r.final_scores and not has_no_value(r, contract)]
    if without:
        raise Mistake(
            f"{key} is missing from {_format_some(without)}; {_format_some(measured)} "
            f"{'has' if len(measured) == 1 else 'have'} it.\n"
            "Measure the others by that protocol, saddlepoint evaluate run=..., or name another metric=..."
        )
    check_comparable({record.title: Score.from_dict(dict(record.final_scores[key])) for record in measured})
    return PrimaryScore(key, contract, higher_is_better(contract.metric, requested))


def has_no_value(record: Record, contract: Contract) -> bool:
    """Whether a finished run was measured under this contract and has no value, e.g. a reverse KL without a point.

    A metric of several scores omits those without a value. The run then has another score of the metric, under a
    contract that differs only in the score's name ("modes_captured" and "modes_reverse_kl").
    """
    family = contract.metric.partition("_")[0]
    others = (Score.from_dict(dict(score)).contract for score in record.final_scores.values())
    return any(
        replace(other, metric=contract.metric) == contract
        for other in others
        if other.metric != contract.metric and other.metric.partition("_")[0] == family
    )


def common_scores(records: Sequence[Record], primary_key: str) -> tuple[list[str], list[str]]:
    """Return the other keys that every finished run has under one contract, and those whose contracts differ."""
    finished = [record.final_scores for record in records if record.status == FINISHED]
    keys = [key for key in finished[0] if key != primary_key and all(key in scores for scores in finished)]
    contracts = {key: [scores[key]["contract"] for scores in finished] for key in keys}
    mixed = [key for key, (first, *others) in contracts.items() if any(other != first for other in others)]
    return [key for key in keys if key not in mixed], mixed


def _first_common_key(finished: Sequence[Record]) -> str:
    first = next(record for record in finished if record.final_scores)
    for key in first.final_scores:
        if all(key in record.final_scores for record in finished):
            return key
    other = next(record for record in finished if first.final_scores.keys() - record.final_scores.keys())
    raise Mistake(
        f"no score is common to all runs: {first.folder} has {', '.join(first.final_scores)}, "
        f"{other.folder} {', '.join(other.final_scores) or 'none'}.\n"
        "Measure them by one protocol: saddlepoint evaluate run=..."
    )


def find_key(finished: Sequence[Record], metric: str, option: str = "metric") -> str:
    """Return `metric` if it is a key, else the one key of that metric with the runs' first extractor.

    Raises Mistake, which names the `option` of the command, if there is none or if there are several.
    """
    contracts = {key: score["contract"] for record in finished for key, score in record.final_scores.items()}
    if metric in contracts:
        return metric
    keys = [key for key, contract in contracts.items() if contract["metric"] == metric]
    extractor = next(iter(contracts.values()))["extractor_sha256"]
    first = [key for key in keys if contracts[key]["extractor_sha256"] == extractor]  # not those of a second extractor
    if len(keys) == 1 or len(first) == 1:
        return (first or keys)[0]
    if keys:
        raise Mistake(f"{option}={metric} may be {' or '.join(keys)}: name one of them")
    names = list(dict.fromkeys([*contracts, *(contract["metric"] for contract in contracts.values())]))
    hint = did_you_mean(metric, names) or f" There are: {', '.join(contracts)}"
    raise Mistake(f"{option}={metric}: no run has such a score.{hint}")


def _format_some(records: Sequence[Record]) -> str:
    """Return "3 runs (a, b, c)", with the first few folders."""
    folders = [str(record.folder) for record in records[:MAX_SHOWN]]
    more = [f"and {len(records) - MAX_SHOWN} more"] if len(records) > MAX_SHOWN else []
    return f"{len(records)} run{'s' * (len(records) > 1)} ({', '.join(folders + more)})"
