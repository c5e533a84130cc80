"""A run measured again, at one moment or at all of its snapshots; or anybody's samples, by a written protocol."""

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
from saddlepoint.config.identity import identity_differences
from saddlepoint.config.tree import CheckedConfig
from saddlepoint.console.terminal import ProgressMeter
from saddlepoint.data.data import Split
from saddlepoint.data.samples import load_samples_for
from saddlepoint.error import Mistake
from saddlepoint.evaluation.contract import Score, Uncertainty
from saddlepoint.evaluation.evaluator import Evaluator, all_anchor_scores
from saddlepoint.evaluation.reference_statistics import ReferenceStatistics, load_reference_statistics
from saddlepoint.evaluation.uncertainty import MIN_GENERATIONS, generation_spread, standard_errors
from saddlepoint.experiment.build import build_game, load_data, set_threads
from saddlepoint.experiment.devices import resolve_device
from saddlepoint.experiment.evaluators import build_evaluator, build_second_evaluator
from saddlepoint.experiment.restore import load_run_data, restore_checkpoint_or_snapshot
from saddlepoint.experiment.run_config import load_run_config
from saddlepoint.extractor.extractor import Features
from saddlepoint.game.game import Game
from saddlepoint.game.lineage import generator_of, sampling_players
from saddlepoint.redaction import redact
from saddlepoint.run import destination
from saddlepoint.run.folder import Run
from saddlepoint.run.provenance import timestamp
from saddlepoint.run.snapshot import snapshot_images

Scores = dict[str, Score]
Spreads = dict[str, Uncertainty]  # by score
Log = Callable[[str], None]


class UncertaintySettings(NamedTuple):
    """How standard errors are had."""

    generations: int = 5  # fresh ones, the reals fixed
    groups: int = 20  # of the delete-a-group jackknife


class Measurement(NamedTuple):
    """What was measured of one moment or set."""

    scores: Scores
    spreads: Spreads

    def to_dict(self) -> dict[str, Any]:
        """The scores, their contracts, and their errors where they were measured, ready for JSON."""
        errors = {key: {"uncertainty": one._asdict()} for key, one in self.spreads.items()}
        return {key: {**score.to_dict(), **errors.get(key, {})} for key, score in self.scores.items()}


class EvaluationResult(NamedTuple):
    """What was measured: by images, of a run, or of one set under its path; and what to read it against."""

    title: str
    measurements: dict[str, Measurement]
    anchors: dict[str, Scores]
    over_time: bool = False  # of every snapshot of a run


Draw = Callable[[str], Sampler]  # a game's samples, from the stream of a name


@dataclass(frozen=True)
class Measurer:
    """What is measured against, by which extractors, how carefully."""

    data: Any
    evaluators: list[Evaluator]
    uncertainty_settings: UncertaintySettings | None = None
    reference: ReferenceStatistics | None = None  # in the place of the data's reals

    def measure_samples(self, split: Split) -> Measurement:
        """All of a stored set."""
        found = Measurement({}, {})
        for evaluator in self.evaluators:
            own = evaluator.score_split(split, self.reference or self.data)
            found.scores.update(own)
            if self.uncertainty_settings is not None:
                fakes = evaluator.extract_features(split.batches(evaluator.batch), len(split), "samples")
                found.spreads.update(self._errors(evaluator, fakes, own, self.uncertainty_settings, folder=True))
        return found

    def measure_generator(self, draw: Draw) -> Measurement:
        """What a game's generator makes."""
        found = Measurement({}, {})
        for evaluator in self.evaluators:
            own = self._generated(evaluator, draw)
            found.scores.update(own)
            if self.uncertainty_settings is not None:
                found.spreads.update(self._spread(evaluator, draw, own, self.uncertainty_settings))
        return found

    def anchors(self) -> dict[str, Scores]:
        """The anchors of all evaluators, by set; none where others' statistics stand for the reals."""
        return all_anchor_scores(self.evaluators, self.data) if self.reference is None else {}

    def _generated(self, evaluator: Evaluator, draw: Draw, stream: str = "evaluation") -> Scores:
        evaluator.sample_count(self.data)
        return draw(stream).evaluate(evaluator, self.reference or self.data)

    def _spread(self, evaluator: Evaluator, draw: Draw, first: Scores, care: UncertaintySettings) -> Spreads:
        """Of each score: its spread over fresh generations, and its standard error over the reals."""
        fresh = [first, *(self._generated(evaluator, draw, f"evaluation/{i}") for i in range(1, care.generations))]
        spread = generation_spread([{key: score.value for key, score in one.items()} for one in fresh])
        fakes = evaluator.sample_features(draw("evaluation"), evaluator.sample_count(self.data))
        errors = self._errors(evaluator, fakes, first, care)
        return {
            key: errors.get(key, Uncertainty())._replace(generations=deviation, mean=mean)
            for key, (mean, deviation) in spread.items()
        }

    def _errors(
        self, evaluator: Evaluator, fakes: Features, own: Scores, care: UncertaintySettings, folder: bool = False
    ) -> Spreads:
        split = self.data.split(evaluator.split)
        reals = evaluator.extract_features(split.batches(evaluator.batch), len(split), f"the {split.name} split")
        found = standard_errors(evaluator, fakes, reals, split, folder, care.groups)
        by_metric = {score.contract.metric: key for key, score in own.items()}
        return {by_metric[metric]: one for metric, one in found.items() if metric in by_metric}


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
    """The scores of `samples`, or of a run at `at`; of all of its snapshots where that is "all".

    A run's are added to its evaluations.jsonl.  Samples are measured by the protocol of `run`, or of what `overrides`
    compose: data=mnist.  `care` asks for standard errors too, which take minutes where the scores take seconds.
    `reference` is a file of somebody's mean and covariance, in the place of the data's own reals; `to` is where the
    scores will be written.  Raises Mistake where the run, the checkpoint, the samples or an extractor is missing, and
    where nothing could be measured.
    """
    _refuse_early(run, samples, at, overrides, uncertainty_settings, reference, to)
    statistics = None if reference is None else load_reference_statistics(reference)
    config = check(compose(overrides, config_dir) if run is None else load_run_config(run, overrides, log, config_dir))
    data = load_data(config, log) if run is None else load_run_data(run, config, overrides, log)
    evaluators = build_evaluators(config, data, log, progress)
    # statistics are of one extractor's features
    measuring = Measurer(data, evaluators if statistics is None else evaluators[:1], uncertainty_settings, statistics)
    if samples is not None:
        split, n = load_samples_for(data, samples, log), config.evaluation.n
        if n is not None and n > len(split):
            raise Mistake(f"evaluation.n={n}: there are {len(split):,} samples; leave it out, and all are measured")
        if n is not None and n < len(split):
            log(f"{len(split):,} samples: the first {n:,} are measured, as evaluation.n says")
            split = Split(split.name, *split[torch.arange(n)], split.classes, modality=split.modality)
        found = measuring.measure_samples(split)
        check_any_score(found.scores)
        for evaluator in measuring.evaluators:
            evaluator.n = len(split)  # the anchors are as many: a distance falls with n
        return EvaluationResult("samples", {str(samples): found}, measuring.anchors())
    assert run is not None
    return _moments(run, at, config, measuring, overrides, log)


def build_evaluators(config: CheckedConfig, data: Any, log: Log, progress: ProgressMeter) -> list[Evaluator]:
    """The evaluator that the config describes, and the second extractor's.  Raises Mistake where there is none."""
    evaluator = build_evaluator(config, data, log, progress)
    if evaluator is None:
        raise Mistake(
            "nothing can be measured: no metric fits these data and this extractor.\n"
            "Choose others: metric=[frechet_distance], evaluation.extractor=identity, or inception (images)"
        )
    second = build_second_evaluator(config, data, log, progress)
    return [evaluator] if second is None else [evaluator, second]


def check_any_score(scores: Mapping[str, Score]) -> None:
    """Raises Mistake where there is no score."""
    if not scores:
        raise Mistake("nothing was measured: every metric was left out, as said above")


def _refuse_early(
    run: Run | None,
    samples: str | Path | None,
    at: str | int,
    overrides: Sequence[str],
    care: UncertaintySettings | None,
    reference: str | Path | None,
    to: str | Path | None,
) -> None:
    """Raises Mistake for what cannot be, before hours are spent."""
    if run is None and samples is None:
        raise Mistake(
            "what is to be measured? run=<a run folder>, or samples=<a folder, zip, npz or npy> data=<its data>"
        )
    if run is None and not any(word.startswith("data=") for word in overrides):
        raise Mistake("samples are measured against data: add data=mnist, or data=image_folder data.folder=...")
    if care is not None:
        if care.generations < MIN_GENERATIONS and samples is None:
            raise Mistake(
                f"generations={care.generations} do not show how far a score spreads: at least {MIN_GENERATIONS}"
            )
        if care.groups < 2:
            raise Mistake(f"groups={care.groups}: a jackknife leaves out one group of several")
        if reference is not None:
            raise Mistake("uncertainty=true leaves out reals in turn, and reference=... holds none: choose one of them")
        if at == "all":
            raise Mistake("uncertainty=true takes one moment: at=last, at=best or the images of a snapshot")
    if samples is not None and at != "last":
        raise Mistake(f"samples=... are as they are: at={at} is for a run")
    if to is not None:
        destination.check_output_file(
            to, (".json",), "a file that ends in .json, in a folder that is there", makes_folders=False
        )
    if run is not None and samples is None:
        destination.check_run_file(run, "evaluations.jsonl")


def _moments(
    run: Run, at: str | int, config: CheckedConfig, measuring: Measurer, overrides: Sequence[str], log: Log
) -> EvaluationResult:
    """The scores of a run at one moment, or at every snapshot; each is written down as soon as it is there."""
    game = build_game(config, measuring.data)
    set_threads(config, game)
    average = config.evaluation.average
    draw = partial(Sampler, game, average, config.evaluation.get("batch_norm", "running"))
    altered = "; ".join(_altered(load_run_config(run), config, game))
    moments = snapshot_images(run) if at == "all" else [at]
    if not moments:
        raise Mistake(f"{run.folder} has no snapshots: it was trained without callback.snapshot")
    if at == "all" and not average and generator_of(game).average is not None:
        raise Mistake("snapshots hold averaged weights: evaluation.average=false finds nothing in them")
    anchors = measuring.anchors()
    found: dict[str, Measurement] = {}
    for moment in moments:
        restore_checkpoint_or_snapshot(game, run, moment, log)
        game.to(resolve_device(config))
        own = measuring.measure_generator(draw)
        check_any_score(own.scores)
        if altered:
            for key, score in own.scores.items():
                own.scores[key] = replace(score, contract=replace(score.contract, altered=altered))
        row: dict[str, Any] = {
            "evaluated": timestamp(),
            "at": moment,
            "images": game.images,
            "overrides": redact(list(overrides)),
            "scores": {key: score.to_dict() for key, score in own.scores.items()},
        }
        if (care := measuring.uncertainty_settings) is not None:
            row["uncertainty"] = {"care": care._asdict(), **{key: one._asdict() for key, one in own.spreads.items()}}
        run.append("evaluations.jsonl", row)
        found[str(game.images)] = own
    when = "every snapshot" if at == "all" else f"{at}, {game.images:,} images"
    return EvaluationResult(f"{run.folder}, {when}", found, anchors, at == "all")


def _altered(own: DictConfig, config: CheckedConfig, game: Game) -> list[str]:
    """What makes `config` another generator than the run's own, or draws other latents.

    Left out are settings of the training that move no score, and those that a contract has a field for.
    """
    makers = sampling_players(game)
    others = [
        f"{part}.{name}" for name in game.players if name not in makers for part in ("game.players", "architecture")
    ]
    known = ["batch", "data", "objective", "regularizer", "optimizer", *others]
    known += [f"game.players.{name}.average" for name in makers]
    seed = [f"seed: {own.seed} -> {config.seed}"] if config.seed != own.seed else []
    return seed + identity_differences(own, config, known)
