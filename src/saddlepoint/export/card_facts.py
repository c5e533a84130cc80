"""What a run's record says of its generator, for a model card: data, scores and their anchors, seeds, memorisation.

Nothing is measured here, and nothing is said that is not on record.
"""

import statistics
from collections.abc import Mapping
from importlib import import_module
from typing import Any, NamedTuple

from omegaconf import DictConfig

from saddlepoint.comparison.arms.record import RUNNING, Record, load_record, load_records
from saddlepoint.error import Mistake
from saddlepoint.evaluation.contract import Score
from saddlepoint.evaluation.score_table import matching_anchor_scores
from saddlepoint.export.command_line import to_command_line
from saddlepoint.run.folder import Run
from saddlepoint.run.layout import is_run

FINISHED = "finished"
PROVENANCE = ("started", "ended", "git", "python", "packages", "hardware")
Scores = dict[str, Score]


class GeneratorVersion(NamedTuple):
    """Which generator of a run is spoken of."""

    at: str  # last, best, previous, or images
    images: int
    weights: str  # averaged or raw


def card_facts(run: Run, config: DictConfig, moment: GeneratorVersion) -> dict[str, Any]:
    """Plain values, ready for JSON."""
    record = load_record(run.folder)
    found, words = _scores(record, moment), to_command_line(config)
    provenance = {key: record.provenance.get(key) for key in PROVENANCE}
    return {
        "name": str(config.name),
        "seed": int(config.seed),
        **moment._asdict(),
        "status": record.status,
        "choice": {key: record.config.choices.get(key) for key in ("data", "architecture", "objective", "regularizer")},
        "data": _data(config, record),
        "scores": {key: score.to_dict() for key, score in found.items()},
        "anchors": _anchors(record, found),
        "seeds": _seeds(record, found, moment),
        "memorisation": _memorisation(run, moment),
        "command": words and ["saddlepoint", "train", *words],
        "provenance": {**provenance, **{key: record.summary.get(key) for key in ("seconds", "rounds")}},
    }


def _scores(record: Record, moment: GeneratorVersion) -> Scores:
    """What was measured of this moment and these weights, the run's own first."""
    if moment.at == "last":
        plain: Mapping[str, Any] = record.final_scores
    else:
        plain = _of_best(record, moment) if moment.at == "best" else {}
        rows = [row for row in record.evaluations if row.get("images") == moment.images and "scores" in row]
        plain = {**{key: score for row in rows for key, score in row["scores"].items()}, **plain}
    scores = {key: Score.from_dict(dict(score)) for key, score in plain.items()}
    return {key: score for key, score in scores.items() if score.contract.weights == moment.weights}


def _of_best(record: Record, moment: GeneratorVersion) -> dict[str, Any]:
    """The scores of the best checkpoint, which were measured under the final ones' contracts."""
    final = record.summary.get("final") or {}
    best = {key: b for key, b in (record.summary.get("best") or {}).items() if b.get("images") == moment.images}
    return {key: {"value": b["value"], "std": None, "contract": final[key]["contract"]}
            for key, b in best.items() if key in final}  # fmt: skip


def _anchors(record: Record, found: Scores) -> dict[str, dict[str, float]]:
    """By score, the anchors that were measured alike, and their values."""
    every = {
        name: {key: Score.from_dict(score) for key, score in own.items()}
        for name, own in (record.summary.get("anchors") or {}).items()
    }
    beside = {key: matching_anchor_scores(every, score) for key, score in found.items()}
    return {key: {name: own.value for name, own in some.items()} for key, some in beside.items()}


def _seeds(record: Record, found: Scores, moment: GeneratorVersion) -> dict[str, dict[str, Any]]:
    """By score, this recipe over seeds: the runs beside this one, at their ends, under the same contract.

    A run that ended otherwise is named under `failed`: with one of them the others' mean and spread are flattered, and
    there is none.
    """
    if not is_run(record.folder) or moment.at != "last":
        return {}
    try:
        beside = load_records(record.folder.parent).records
    except Mistake:  # one of them cannot be read: this run's own record does not suffer
        beside = [record]
    ended = [r for r in beside if r.status != RUNNING]
    recipe = record.config.training_values, record.target_images
    siblings = [r for r in ended if (r.config.training_values, r.target_images) == recipe]
    failed = sorted(r.seed for r in siblings if r.status != FINISHED)
    told = {}
    for key, score in found.items():
        own = {r.seed: r.final_scores[key]["value"] for r in siblings if r.status == FINISHED
               and key in r.final_scores and Score.from_dict(dict(r.final_scores[key])).contract == score.contract}  # fmt: skip
        values = [] if failed else list(own.values())
        spread = statistics.stdev(values) if len(values) > 1 else None
        mean = statistics.fmean(values) if values else None
        told[key] = {"seeds": sorted(own), "failed": failed, "mean": mean, "std": spread}
    return told


def _memorisation(run: Run, moment: GeneratorVersion) -> dict[str, Any] | None:
    """The last reading of this moment and these weights; None where none was taken, or none says whose it is."""
    every = run.events("memorisation.jsonl")[0]
    rows = [row for row in every if (row.get("images"), row.get("weights")) == (moment.images, moment.weights)]
    kept = ("measured", "n", "n_train", "n_held_out", "extractor", "level", "alarm", "statistics")
    return {key: rows[-1].get(key) for key in kept} if rows else None


def _data(config: DictConfig, record: Record) -> dict[str, Any]:
    """What the data say of themselves, and the first line of what we say of them."""
    told = record.provenance.get("data") or {}
    module = str(config.data._target_).rpartition(".")[0]
    said = (import_module(module).__doc__ or "").strip() if module.startswith("saddlepoint.") else ""
    first = said.split("\n\n")[0].replace("\n", " ").strip()
    kept = {key: told.get(key) for key in ("name", "shape", "classes", "sizes", "sha256")}
    return {**kept, "description": first}
