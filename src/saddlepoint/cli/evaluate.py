"""saddlepoint evaluate: measures a run again, or anybody's samples, by a protocol that is written down."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table

from saddlepoint.callback.evaluation import Sampler, drawn_as, scores
from saddlepoint.cli import unread
from saddlepoint.config.check import check
from saddlepoint.config.compose import compose
from saddlepoint.config.identity import differences
from saddlepoint.console.output import plain, result
from saddlepoint.console.terminal import Meter, speaker
from saddlepoint.data.data import Split
from saddlepoint.data.samples import read_for
from saddlepoint.error import Mistake
from saddlepoint.evaluation.contract import Score
from saddlepoint.evaluation.evaluator import Evaluator
from saddlepoint.evaluation.reference_statistics import Statistics, scores_against
from saddlepoint.evaluation.reference_statistics import read as read_statistics
from saddlepoint.evaluation.table import Spread, details, measured, over_the_run
from saddlepoint.evaluation.uncertainty import FEWEST, generations, uncertainty
from saddlepoint.experiment.against import against
from saddlepoint.experiment.build import (
    config_of,
    data_of,
    data_of_run,
    device_of,
    evaluator_of,
    game_of,
    put,
    second_of,
    set_threads,
)
from saddlepoint.extractor.extractor import Features
from saddlepoint.game.game import Game
from saddlepoint.game.lineage import sampled, sampled_player
from saddlepoint.redaction import discreet
from saddlepoint.run import destination
from saddlepoint.run.folder import Run, write
from saddlepoint.run.provenance import now
from saddlepoint.run.snapshot import every

Scores = dict[str, Score]
Spreads = dict[str, Spread]  # by score
Parts = list[str | Table]


class Found(NamedTuple):
    """What was measured of one moment or set."""

    scores: Scores
    spread: Spreads


class Care(NamedTuple):
    """How standard errors are had."""

    generations: int = 5  # fresh ones, the reals fixed
    groups: int = 20  # of the delete-a-group jackknife


class Source(NamedTuple):
    """What fakes are drawn from: a game, by averaged weights or not, by running or batch statistics."""

    game: Game
    average: bool
    batch_norm: str

    def batches(self, evaluator: Evaluator, n: int) -> Iterator[Any]:
        """n samples from the start of the evaluation stream, `batch` at a time."""
        sample = Sampler(self.game, self.average, self.batch_norm)
        return (sample(min(evaluator.batch, n - done)) for done in range(0, n, evaluator.batch))


@dataclass(frozen=True)
class Measuring:
    """What is measured against, by which rulers, how carefully."""

    data: Any
    rulers: list[Evaluator]
    console: Console
    care: Care | None = None
    reference: Statistics | None = None  # in the place of the data's reals

    def samples(self, split: Split) -> tuple[Scores, Spreads]:
        """All of a stored set."""
        found: Scores = {}
        spread: Spreads = {}
        for evaluator in self.rulers:
            if self.reference is not None:
                batches = split.batches(evaluator.batch)
                found |= scores_against(evaluator, batches, len(split), self.reference)
                continue
            own = evaluator.measure(split, self.data)
            found |= own
            if self.care is not None:
                fakes = evaluator.features(split.batches(evaluator.batch), len(split), "samples")
                spread |= self._errors(evaluator, fakes, own, folder=True)
        return found, spread

    def generator(self, source: Source) -> tuple[Scores, Spreads]:
        """What a game's generator makes."""
        found: Scores = {}
        spread: Spreads = {}
        for evaluator in self.rulers:
            own = self._generated(evaluator, source)
            found |= own
            if self.care is not None:
                spread |= self._spread(evaluator, source, own, self.care)
        return found, spread

    def anchors(self) -> dict[str, Scores]:
        """The anchors of all rulers, by set; none where others' statistics stand for the reals."""
        found: dict[str, Scores] = {}
        for evaluator in self.rulers if self.reference is None else []:
            for name, own in evaluator.anchors(self.data).items():
                found[name] = found.get(name, {}) | own
        return found

    def _generated(self, evaluator: Evaluator, source: Source, stream: str = "evaluation") -> Scores:
        if self.reference is None:
            return scores(evaluator, source.game, self.data, source.average, source.batch_norm, stream)
        n = evaluator.size(self.data)
        drawn = drawn_as(source.game, source.average, source.batch_norm, evaluator.batch)
        return scores_against(evaluator, source.batches(evaluator, n), n, self.reference, "samples", **drawn)

    def _spread(self, evaluator: Evaluator, source: Source, first: Scores, care: Care) -> Spreads:
        """Of each score: its spread over fresh generations, and its standard error over the reals."""
        fresh = [first, *(self._generated(evaluator, source, f"evaluation/{i}") for i in range(1, care.generations))]
        spread = generations([{key: score.value for key, score in one.items()} for one in fresh])
        n = evaluator.size(self.data)
        errors = self._errors(evaluator, evaluator.features(source.batches(evaluator, n), n, "samples"), first)
        return {
            key: Spread(deviation, mean, errors[key].reals if key in errors else None)
            for key, (mean, deviation) in spread.items()
        }

    def _errors(self, evaluator: Evaluator, fakes: Features, own: Scores, folder: bool = False) -> Spreads:
        """Of each score, its jackknife errors."""
        split, groups = self.data.split(evaluator.split), (self.care or Care()).groups
        reals = evaluator.features(split.batches(evaluator.batch), len(split), f"the {split.name} split")
        found = uncertainty(evaluator, fakes, reals, split, folder, groups)
        by_metric = {score.contract.metric: key for key, score in own.items()}
        return {by_metric[m]: Spread(reals=one.reals, fakes=one.fakes) for m, one in found.items() if m in by_metric}


def command(config: DictConfig, rest: Sequence[str] = (), config_dir: str | None = None) -> int:
    """The console's door; `rest` overrides the run's own config."""
    unread.refuse("evaluate", rest, samples=config.samples is not None)
    for key, usual in Care()._asdict().items():
        if config[key] != usual and not config.uncertainty:
            raise Mistake(f"{key}={config[key]}: uncertainty=true reads it; add that, or leave {key} out")
    to = None if config.to == "-" else config.to
    if config.against is not None:
        if config.run is None or config.samples is not None:
            raise Mistake("against=... compares two runs: say run=<one> against=<the other>")
        if to is not None or config.uncertainty or config.reference is not None or config.at == "all":
            raise Mistake(
                "against=... prints what moved a score at one moment: leave out to, uncertainty and reference"
            )
        against(config.run, config.against, rest, config_dir, None, config.at)
        return 0
    care = Care(config.generations, config.groups) if config.uncertainty else None
    evaluate(config.run, config.at, rest, config_dir, None, config.samples, care, config.reference, to)
    return 0


def evaluate(
    run: str | Path | None = None,
    at: str | int = "last",
    overrides: Sequence[str] = (),
    config_dir: str | Path | None = None,
    console: Console | None = None,
    samples: str | Path | None = None,
    care: Care | None = None,
    reference: str | Path | None = None,
    to: str | Path | None = None,
) -> dict[str, Scores]:
    """The scores of `samples`, or of a run at `at`, by what was measured; printed with their contracts.

    Notes go to stderr and the result to stdout, or both to `console`.

    A run's are added to its evaluations.jsonl.  Samples are measured by the protocol of `run`, or of what `overrides`
    compose: data=mnist.  `care` asks for standard errors too, which take minutes where the scores take seconds.
    `reference` is a file of somebody's mean and covariance, in the place of the data's own reals; `to` a .json for the
    scores, their contracts and errors.  Raises Mistake where the run, the checkpoint, the samples or an extractor is
    missing, and where nothing could be measured.
    """
    output = result(console)
    console = console or Console(stderr=True)
    say = speaker(console)
    _look_at(run, at, samples, care, reference, to)
    statistics = None if reference is None else read_statistics(reference)
    config = _config(run, samples, overrides, config_dir, say)
    check(config)
    data = data_of(config, say) if run is None else data_of_run(Run(run), config, overrides, say)
    rulers = _rulers(config, data, console)
    # statistics are of one ruler's features
    measuring = Measuring(data, rulers if statistics is None else rulers[:1], console, care, statistics)
    if samples is None:
        found, parts = _moments(Run(str(run)), at, config, measuring, overrides, output.width)
    else:
        stored = _first(read_for(data, samples, say), config.evaluation.n, say)
        found, parts = _set(stored, str(samples), measuring, output.width)
    content = {whose: {key: _plain(key, own) for key in own.scores} for whose, own in found.items()}
    if to is not None:
        write(Path(to), json.dumps(plain(content), indent=2) + "\n")
    output(parts, content)
    return {whose: own.scores for whose, own in found.items()}


def _look_at(
    run: str | Path | None,
    at: str | int,
    samples: str | Path | None,
    care: Care | None,
    reference: str | Path | None,
    to: str | Path | None,
) -> None:
    """Raises Mistake for what cannot be, before hours are spent."""
    if care is not None:
        if care.generations < FEWEST and samples is None:
            raise Mistake(f"generations={care.generations} do not show how far a score spreads: at least {FEWEST}")
        if care.groups < 2:
            raise Mistake(f"groups={care.groups}: a jackknife leaves out one group of several")
        if reference is not None:
            raise Mistake("uncertainty=true leaves out reals in turn, and reference=... holds none: choose one of them")
        if at == "all":
            raise Mistake("uncertainty=true takes one moment: at=last, at=best or the images of a snapshot")
    if samples is not None and at != "last":
        raise Mistake(f"samples=... are as they are: at={at} is for a run")
    if to is not None:
        destination.file(to, (".json",), "a file that ends in .json, in a folder that is there", makes_folders=False)
    if run is not None and samples is None:
        destination.record(Run(run), "evaluations.jsonl")


def _first(split: Split, n: int | None, say: Callable[[str], None]) -> Split:
    """The first n of a stored set, all where n is None.  Raises Mistake where there are fewer."""
    if n is None or n == len(split):
        return split
    if n > len(split):
        raise Mistake(f"evaluation.n={n}: there are {len(split):,} samples; leave it out, and all are measured")
    say(f"{len(split):,} samples: the first {n:,} are measured, as evaluation.n says")
    return Split(split.name, *split[torch.arange(n)], split.classes, modality=split.modality)


def _set(split: Split, name: str, measuring: Measuring, width: int) -> tuple[dict[str, Found], Parts]:
    """The scores of a stored set, and what people read of them."""
    found = Found(*measuring.samples(split))
    _something(found)
    for evaluator in measuring.rulers:
        evaluator.n = len(split)  # the anchors are as many: a distance falls with n
    parts = measured("samples", found.scores, measuring.anchors(), found.spread, width)
    return {name: found}, [*parts, *details(found.scores)]


def _something(found: Found) -> None:
    """Raises Mistake where there is no score."""
    if not found.scores:
        raise Mistake("nothing was measured: every metric was left out, as said above")


def _plain(key: str, found: Found) -> dict[str, Any]:
    """One score, its contract, and its errors where they were measured, ready for JSON."""
    errors = {"uncertainty": found.spread[key]._asdict()} if key in found.spread else {}
    return {**found.scores[key].to_dict(), **errors}


def _config(
    run: str | Path | None,
    samples: str | Path | None,
    overrides: Sequence[str],
    config_dir: str | Path | None,
    say: Callable[[str], None],
) -> DictConfig:
    """The protocol and its data: the run's own, or composed for samples."""
    if run is not None:
        return config_of(Run(run), overrides, say, config_dir)
    if samples is None:
        raise Mistake(
            "what is to be measured? run=<a run folder>, or samples=<a folder, zip, npz or npy> data=<its data>"
        )
    if not any(word.startswith("data=") for word in overrides):
        raise Mistake("samples are measured against data: add data=mnist, or data=image_folder data.folder=...")
    return compose(overrides, config_dir)


def _rulers(config: DictConfig, data: Any, console: Console) -> list[Evaluator]:
    """The evaluator that the config describes, and the second ruler's.  Raises Mistake where there is none."""
    say, progress = speaker(console), Meter(console)
    evaluator = evaluator_of(config, data, say, progress)
    if evaluator is None:
        raise Mistake(
            "nothing can be measured: no metric fits these data and this extractor.\n"
            "Choose others: metric=[frechet_distance], evaluation.extractor=identity, or inception (images)"
        )
    second = second_of(config, data, say, progress)
    return [evaluator] if second is None else [evaluator, second]


def _altered(own: DictConfig, config: DictConfig, game: Game) -> list[str]:
    """What makes `config` another generator than the run's own, or draws other latents.

    Left out are settings of the training that move no score, and those that a contract has a field for.
    """
    makers = sampled(game)
    others = [
        f"{part}.{name}" for name in game.players if name not in makers for part in ("game.players", "architecture")
    ]
    known = ["batch", "data", "objective", "regularizer", "optimizer", *others]
    known += [f"game.players.{name}.average" for name in makers]
    seed = [f"seed: {own.seed} -> {config.seed}"] if config.seed != own.seed else []
    return seed + differences(own, config, known)


def _as_altered(score: Score, altered: str) -> Score:
    return replace(score, contract=replace(score.contract, altered=altered))


def _moments(
    run: Run, at: str | int, config: DictConfig, measuring: Measuring, overrides: Sequence[str], width: int
) -> tuple[dict[str, Found], Parts]:
    """The scores of a run at one moment, or at every snapshot, by images, and what people read of them.

    Each is written down as soon as it is there.
    """
    console = measuring.console
    game = game_of(config, measuring.data)
    set_threads(config, game)
    source = Source(game, config.evaluation.average, config.evaluation.get("batch_norm", "running"))
    altered = "; ".join(_altered(config_of(run), config, game))
    moments = every(run) if at == "all" else [at]
    if not moments:
        raise Mistake(f"{run.folder} has no snapshots: it was trained without callback.snapshot")
    if at == "all" and not source.average and sampled_player(source.game).average is not None:
        raise Mistake("snapshots hold averaged weights: evaluation.average=false finds nothing in them")
    anchors = measuring.anchors()
    found: dict[str, Found] = {}
    for moment in moments:
        put(game, run, moment, speaker(console))
        game.to(device_of(config))
        both = Found(*measuring.generator(source))
        _something(both)
        if altered:
            both = both._replace(scores={key: _as_altered(score, altered) for key, score in both.scores.items()})
        own, spread = both
        row: dict[str, Any] = {
            "evaluated": now(),
            "at": moment,
            "images": game.images,
            "overrides": discreet(list(overrides)),
            "scores": {key: score.to_dict() for key, score in own.items()},
        }
        if measuring.care is not None:
            care = measuring.care._asdict()
            row["uncertainty"] = {"care": care, **{key: one._asdict() for key, one in spread.items()}}
        run.append("evaluations.jsonl", row)
        found[str(game.images)] = both
    if at == "all":
        every_score = {images: both.scores for images, both in found.items()}
        return found, list(over_the_run(f"{run.folder}, every snapshot", every_score, anchors, width))
    ((images, (own, spread)),) = found.items()
    title = f"{run.folder}, {at}, {int(images):,} images"
    return found, [*measured(title, own, anchors, spread, width), *details(own)]
