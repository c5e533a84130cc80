"""Evaluation of a run, at one checkpoint or at all of its snapshots, or of stored samples, by a written protocol."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from omegaconf import DictConfig

from saddlepoint.callback.evaluation import Sampler
from saddlepoint.config.check import check
from saddlepoint.config.compose import compose
from saddlepoint.config.identity import describe_identity_differences
from saddlepoint.config.tree import CheckedConfig
from saddlepoint.console.terminal import ProgressMeter
from saddlepoint.data.data import Split
from saddlepoint.data.samples import load_samples_for
from saddlepoint.error import Mistake
from saddlepoint.evaluation.contract import Score, Uncertainty
from saddlepoint.evaluation.evaluator import Evaluator, measure_all_anchors
from saddlepoint.evaluation.reference_statistics import ReferenceStatistics, load_reference_statistics
from saddlepoint.evaluation.uncertainty import MIN_GENERATIONS, generation_spread, measure_standard_errors
from saddlepoint.experiment.build import build_game, load_data, set_pairs, set_threads
from saddlepoint.experiment.devices import resolve_device
from saddlepoint.experiment.evaluators import build_evaluator, build_second_evaluator, check_extractors_score_nothing
from saddlepoint.experiment.restore import load_run_data, restore_checkpoint_or_snapshot
from saddlepoint.experiment.run_config import load_run_config
from saddlepoint.extractor.extractor import Features
from saddlepoint.game.game import Game
from saddlepoint.game.lineage import generator_player, sampling_players
from saddlepoint.redaction import redact
from saddlepoint.run import destination
from saddlepoint.run.folder import Run
from saddlepoint.run.provenance import timestamp
from saddlepoint.run.snapshot import snapshot_image_counts
from saddlepoint.run.storage.cache import Log

Scores = dict[str, Score]
Spreads = dict[str, Uncertainty]  # by score


class UncertaintySettings(NamedTuple):
    """How standard errors are estimated."""

    generations: int = 5  # sets of new samples, with the reals fixed
    groups: int = 20  # of the delete-a-group jackknife over the reals


class Measurement(NamedTuple):
    """The scores of one checkpoint, snapshot or set of samples."""

    scores: Scores
    spreads: Spreads

    def to_dict(self) -> dict[str, Any]:
        """Return the scores, their contracts and, if measured, their standard errors, ready for JSON."""
        errors = {key: {"uncertainty": uncertainty._asdict()} for key, uncertainty in self.spreads.items()}
        return {key: {**score.to_dict(), **errors.get(key, {})} for key, score in self.scores.items()}


class EvaluationResult(NamedTuple):
    """Measurements by images of a run, or by the path of a set of samples; and the anchors for comparison."""

    title: str
    measurements: dict[str, Measurement]
    anchors: dict[str, Scores]
    over_time: bool = False  # whether these are all snapshots of a run


TRAINING_SCORES = (  # callbacks whose scores `evaluate` does not measure
    "classification_error", "code_accuracy", "equilibrium_distance", "latent_likelihood", "likelihood",
    "reconstruction_error",
)  # fmt: skip
DrawSamples = Callable[[str], Sampler]  # gives a sampler of the game with the stream of this name


@dataclass(frozen=True)
class Measurer:
    """Measures samples or a generator against the reals of `data` or against `reference`, with each evaluator."""

    data: Any
    evaluators: list[Evaluator]
    uncertainty_settings: UncertaintySettings | None = None
    reference: ReferenceStatistics | None = None  # replaces the reals of the data

    def measure_samples(self, split: Split) -> Measurement:
        """Measure all samples of a stored set."""
        measurement = Measurement({}, {})
        for evaluator in self.evaluators:
            scores = evaluator.score_split(split, self.reference or self.data)
            measurement.scores.update(scores)
            if self.uncertainty_settings is not None:
                fakes = evaluator.extract_features(split.batches(evaluator.batch), len(split), "samples")
                groups = self.uncertainty_settings.groups
                measurement.spreads.update(
                    self._measure_standard_errors(evaluator, fakes, scores, groups, fixed_fakes=True)
                )
        return measurement

    def measure_generator(self, draw: DrawSamples) -> Measurement:
        """Measure samples of a game's generator."""
        measurement = Measurement({}, {})
        for evaluator in self.evaluators:
            scores = self._generator_scores(evaluator, draw)
            measurement.scores.update(scores)
            if self.uncertainty_settings is not None:
                measurement.spreads.update(
                    self._measure_uncertainty(evaluator, draw, scores, self.uncertainty_settings)
                )
        return measurement

    def anchors(self) -> dict[str, Scores]:
        """Return the anchors of all evaluators, by set; none if reference statistics replace the reals."""
        return measure_all_anchors(self.evaluators, self.data) if self.reference is None else {}

    def _generator_scores(self, evaluator: Evaluator, draw: DrawSamples, stream: str = "evaluation") -> Scores:
        evaluator.sample_count(self.data)
        return draw(stream).evaluate(evaluator, self.reference or self.data)

    def _measure_uncertainty(
        self, evaluator: Evaluator, draw: DrawSamples, first: Scores, settings: UncertaintySettings
    ) -> Spreads:
        """Return the spread of each score over new samples, and its standard error over the reals."""
        names = [f"evaluation/{i}" for i in range(1, settings.generations)]
        all_scores = [first, *(self._generator_scores(evaluator, draw, name) for name in names)]
        spread = generation_spread([{key: score.value for key, score in scores.items()} for scores in all_scores])
        fakes = evaluator.sample_features(draw("evaluation"), evaluator.sample_count(self.data))
        errors = self._measure_standard_errors(evaluator, fakes, first, settings.groups)
        return {
            key: errors.get(key, Uncertainty())._replace(generations=deviation, mean=mean)
            for key, (mean, deviation) in spread.items()
        }

    def _measure_standard_errors(
        self, evaluator: Evaluator, fakes: Features, scores: Scores, groups: int, fixed_fakes: bool = False
    ) -> Spreads:
        """Return the standard error of each score over the reals; with `fixed_fakes`, over stored samples too."""
        split = self.data.split(evaluator.split)
        reals = evaluator.extract_features(split.batches(evaluator.batch), len(split), f"the {split.name} split")
        errors = measure_standard_errors(evaluator, fakes, reals, split, fixed_fakes, groups)
        by_metric = {score.contract.metric: key for key, score in scores.items()}
        return {by_metric[metric]: error for metric, error in errors.items() if metric in by_metric}


def evaluate(
    run: Run | None,
    samples: str | Path | None,
    at: str | int,
    overrides: Sequence[str],
    config_dir: str | Path | None,
    log: Log,
    progress: ProgressMeter,
    uncertainty_settings: UncertaintySettings | None = None,
    reference: str | Path | None = None,
    to: str | Path | None = None,
) -> EvaluationResult:
    """Measure `samples`, or a run at the checkpoint or snapshot `at`; "all": at each of its snapshots.

    The scores of a run are added to its evaluations.jsonl.  Samples are measured by the protocol of `run`, or of the
    config that `overrides` compose, such as data=mnist.

    uncertainty_settings  also estimate standard errors, which takes minutes instead of seconds
    reference             a file with a mean and covariance, which replaces the reals of the data
    to                    where the caller will write the scores; checked at the start
    Raises Mistake if the run, the checkpoint, the samples or an extractor is missing, or if nothing could be measured.
    """
    _check_arguments(run, samples, at, overrides, uncertainty_settings, reference, to)
    statistics = None if reference is None else load_reference_statistics(reference)
    config = check(compose(overrides, config_dir) if run is None else load_run_config(run, overrides, log, config_dir))
    data = load_data(config, log) if run is None else load_run_data(run, config, overrides, log)
    evaluators = build_evaluators(config, data, log, progress)
    # the statistics belong to the features of one extractor
    measurer = Measurer(data, evaluators if statistics is None else evaluators[:1], uncertainty_settings, statistics)
    if samples is not None:
        split, n = load_samples_for(data, samples, log), config.evaluation.n
        if n is not None and n > len(split):
            raise Mistake(f"evaluation.n={n}: there are only {len(split):,} samples; leave it out to measure all")
        if n is not None and n < len(split):
            log(f"evaluation.n={n}: the first {n:,} of {len(split):,} samples are measured")
            split = Split(split.name, *split[torch.arange(n)], split.classes, modality=split.modality)
        measurement = measurer.measure_samples(split)
        check_any_score(measurement.scores)
        for evaluator in measurer.evaluators:
            evaluator.n = len(split)  # the same n for the anchors, because a distance falls with n
        return EvaluationResult("samples", {str(samples): measurement}, measurer.anchors())
    assert run is not None
    return _evaluate_run(run, at, config, measurer, overrides, log)


def build_evaluators(config: CheckedConfig, data: Any, log: Log, progress: ProgressMeter) -> list[Evaluator]:
    """Build the evaluator of a config and that of its second extractor.  Raises Mistake if nothing can be measured."""
    evaluator = build_evaluator(config, data, log, progress)
    if evaluator is None:
        trained = [name for name in config.get("callback") or {} if name in TRAINING_SCORES]
        recorded = (
            f"The scores of {', '.join(trained)} are measured in training only, see summary.json. " if trained else ""
        )
        raise Mistake(
            "nothing can be measured: no metric fits these data and this extractor.\n"
            f"{recorded}Try metric=[frechet_distance], evaluation.extractor=identity, or inception (images)"
        )
    second_evaluator = build_second_evaluator(config, data, log, progress)
    return [evaluator] if second_evaluator is None else [evaluator, second_evaluator]


def check_any_score(scores: Mapping[str, Score]) -> None:
    """Raise Mistake if there is no score."""
    if not scores:
        raise Mistake("nothing was measured: every metric was left out, see the messages above")


def _check_arguments(
    run: Run | None,
    samples: str | Path | None,
    at: str | int,
    overrides: Sequence[str],
    settings: UncertaintySettings | None,
    reference: str | Path | None,
    to: str | Path | None,
) -> None:
    """Raise Mistake for contradictory arguments and unwritable output, before hours are spent."""
    if run is None and samples is None:
        raise Mistake(
            "nothing to measure: give run=<a run folder>, or samples=<a folder, zip, npz or npy> data=<its data>"
        )
    if run is None and not any(override.startswith("data=") for override in overrides):
        raise Mistake("samples are measured against data: add data=mnist, or data=image_folder data.folder=...")
    if settings is not None:
        if settings.generations < MIN_GENERATIONS and samples is None:
            raise Mistake(
                f"generations={settings.generations} are too few to estimate a spread: at least {MIN_GENERATIONS}"
            )
        if settings.groups < 2:
            raise Mistake(f"groups={settings.groups}: a jackknife needs at least 2 groups")
        if reference is not None:
            raise Mistake("uncertainty=true resamples the reals, and reference=... has none: choose one of the two")
        if at == "all":
            raise Mistake("uncertainty=true needs one checkpoint or snapshot: at=last, at=best or its images")
    if samples is not None and at != "last":
        raise Mistake(f"at={at} applies only to a run, not to samples=...")
    if to is not None:
        destination.check_output_file(
            to, (".json",), "a file that ends in .json, in an existing folder", makes_folders=False
        )
    if run is not None and samples is None:
        destination.check_run_file(run, "evaluations.jsonl")


def _evaluate_run(
    run: Run, at: str | int, config: CheckedConfig, measurer: Measurer, overrides: Sequence[str], log: Log
) -> EvaluationResult:
    """Measure a run at `at`, or at every snapshot; each measurement is written to the run folder at once."""
    game = build_game(config, measurer.data)
    check_extractors_score_nothing(game, measurer.evaluators)
    set_pairs(game, measurer.data, measurer.evaluators)
    set_threads(config, game)
    average = config.evaluation.average
    draw = partial(Sampler, game, average, config.evaluation.get("batch_norm", "running"))
    altered = "; ".join(_altered_settings(load_run_config(run), config, game))
    moments = snapshot_image_counts(run) if at == "all" else [at]
    if not moments:
        raise Mistake(f"{run.folder} has no snapshots: it was trained without callback.snapshot")
    if at == "all" and not average and generator_player(game).average is not None:
        raise Mistake("snapshots hold only averaged weights, so evaluation.average=false cannot be measured")
    anchors = measurer.anchors()
    measurements: dict[str, Measurement] = {}
    for moment in moments:
        restore_checkpoint_or_snapshot(game, run, moment, log)
        game.to(resolve_device(config))
        measurement = measurer.measure_generator(draw)
        check_any_score(measurement.scores)
        if altered:
            for key, score in measurement.scores.items():
                measurement.scores[key] = replace(score, contract=replace(score.contract, altered=altered))
        row: dict[str, Any] = {
            "evaluated": timestamp(),
            "at": moment,
            "images": game.images,
            "overrides": redact(list(overrides)),
            "scores": {key: score.to_dict() for key, score in measurement.scores.items()},
        }
        if (settings := measurer.uncertainty_settings) is not None:
            row["uncertainty"] = {
                "care": settings._asdict(),
                **{key: error._asdict() for key, error in measurement.spreads.items()},
            }
        run.append("evaluations.jsonl", row)
        measurements[str(game.images)] = measurement
    description = "every snapshot" if at == "all" else f"{at}, {game.images:,} images"
    return EvaluationResult(f"{run.folder}, {description}", measurements, anchors, at == "all")


def _altered_settings(run_config: DictConfig, config: CheckedConfig, game: Game) -> list[str]:
    """Return the overrides that change the generator of a run or its latents.

    Training settings that do not affect scores, and settings with their own contract field, are left out.
    """
    sampled = sampling_players(game)
    unsampled = [
        f"{prefix}.{name}"
        for name in game.players
        if name not in sampled
        for prefix in ("game.players", "architecture")
    ]
    ignored = ["batch", "data", "objective", "regularizer", "optimizer", *unsampled]
    ignored += [f"game.players.{name}.average" for name in sampled]
    seed = [f"seed: {run_config.seed} -> {config.seed}"] if config.seed != run_config.seed else []
    selected = [line for line in describe_identity_differences(run_config, config) if ".average.selected: " in line]
    return seed + describe_identity_differences(run_config, config, ignored) + selected
