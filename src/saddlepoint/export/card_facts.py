"""The facts of a model card from a run's record: data, scores and their anchors, seeds, memorisation.

Nothing is measured here; facts that are not on record are left out.
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
from saddlepoint.export.train_command import to_command_line
from saddlepoint.run.folder import Run
from saddlepoint.run.layout import is_run

FINISHED = "finished"
PROVENANCE = ("started", "ended", "git", "python", "packages", "hardware")
Scores = dict[str, Score]


class GeneratorVersion(NamedTuple):
    """Identifies one generator of a run."""

    at: str  # last, best, previous, or images
    images: int
    weights: str  # averaged or raw


def card_facts(run: Run, config: DictConfig, version: GeneratorVersion) -> dict[str, Any]:
    """Return the facts as plain values, ready for JSON."""
    record = load_record(run.folder)
    scores, overrides = _version_scores(record, version), to_command_line(config)
    provenance = {key: record.provenance.get(key) for key in PROVENANCE}
    choices = ("data", "architecture", "objective", "regularizer")
    return {
        "name": str(config.name),
        "seed": int(config.seed),
        **version._asdict(),
        "status": record.status,
        "choice": {key: record.config.choices.get(key) for key in choices},
        "data": _data_facts(config, record),
        "scores": {key: score.to_dict() for key, score in scores.items()},
        "anchors": _anchor_values(record, scores),
        "seeds": _spread_over_seeds(record, scores, version),
        "memorisation": _memorisation_reading(run, version),
        **({"privacy": privacy} if (privacy := record.summary.get("privacy")) else {}),
        "command": overrides and ["saddlepoint", "train", *overrides],
        "provenance": {**provenance, **{key: record.summary.get(key) for key in ("seconds", "rounds")}},
    }


def _version_scores(record: Record, version: GeneratorVersion) -> Scores:
    """Return the recorded scores of this version; the training's own take precedence over later evaluations."""
    if version.at == "last":
        plain: Mapping[str, Any] = record.final_scores
    else:
        plain = _scores_at_best(record, version) if version.at == "best" else {}
        rows = [row for row in record.evaluations if row.get("images") == version.images and "scores" in row]
        plain = {**{key: score for row in rows for key, score in row["scores"].items()}, **plain}
    scores = {key: Score.from_dict(dict(score)) for key, score in plain.items()}
    return {key: score for key, score in scores.items() if score.contract.weights == version.weights}


def _scores_at_best(record: Record, version: GeneratorVersion) -> dict[str, Any]:
    """Return the scores of the best checkpoint.  They were measured under the contracts of the final scores."""
    final = record.summary.get("final") or {}
    best = {key: b for key, b in (record.summary.get("best") or {}).items() if b.get("images") == version.images}
    return {key: {"value": b["value"], "std": None, "contract": final[key]["contract"]}
            for key, b in best.items() if key in final}  # fmt: skip


def _anchor_values(record: Record, scores: Scores) -> dict[str, dict[str, float]]:
    """Return score key -> anchor -> value, for the anchors that were measured under the same contract."""
    anchors = {
        name: {key: Score.from_dict(score) for key, score in plain.items()}
        for name, plain in (record.summary.get("anchors") or {}).items()
    }
    matching = {key: matching_anchor_scores(anchors, score) for key, score in scores.items()}
    return {key: {name: anchor.value for name, anchor in by_name.items()} for key, by_name in matching.items()}


def _spread_over_seeds(record: Record, scores: Scores, version: GeneratorVersion) -> dict[str, dict[str, Any]]:
    """Return score key -> mean and standard deviation over the seeds of this training, under the same contract.

    The runs are those in the same folder with the same config and number of images, at their ends.  If one of them has
    not finished, its seed is listed under `failed`, and mean and deviation are None: over the others alone they would
    look too good.
    """
    if not is_run(record.folder) or version.at != "last":
        return {}
    try:
        records = load_records(record.folder.parent).records
    except Mistake:  # a neighbouring run is unreadable; this run's card is still written
        records = [record]
    ended = [r for r in records if r.status != RUNNING]
    training = (record.config.training_values, record.target_images)
    same_training = [r for r in ended if (r.config.training_values, r.target_images) == training]
    failed = sorted(r.seed for r in same_training if r.status != FINISHED)
    result = {}
    for key, score in scores.items():
        by_seed = {r.seed: r.final_scores[key]["value"] for r in same_training
                   if r.status == FINISHED and key in r.final_scores
                   and Score.from_dict(dict(r.final_scores[key])).contract == score.contract}  # fmt: skip
        values = [] if failed else list(by_seed.values())
        std = statistics.stdev(values) if len(values) > 1 else None
        mean = statistics.fmean(values) if values else None
        result[key] = {"seeds": sorted(by_seed), "failed": failed, "mean": mean, "std": std}
    return result


def _memorisation_reading(run: Run, version: GeneratorVersion) -> dict[str, Any] | None:
    """Return the last memorisation reading of this version; None if there is none, or none names its version."""
    events = run.events("memorisation.jsonl")[0]
    rows = [row for row in events if (row.get("images"), row.get("weights")) == (version.images, version.weights)]
    keys = ("measured", "n", "n_train", "n_held_out", "extractor", "level", "alarm", "statistics")
    return {key: rows[-1].get(key) for key in keys} if rows else None


def _data_facts(config: DictConfig, record: Record) -> dict[str, Any]:
    """Return the recorded facts of the data, and the first paragraph of the documentation of their module."""
    recorded = record.provenance.get("data") or {}
    module = str(config.data._target_).rpartition(".")[0]
    doc = (import_module(module).__doc__ or "").strip() if module.startswith("saddlepoint.") else ""
    description = doc.split("\n\n")[0].replace("\n", " ").strip()
    facts = {key: recorded.get(key) for key in ("name", "shape", "classes", "sizes", "sha256")}
    return {**facts, "description": description}
