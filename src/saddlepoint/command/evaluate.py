"""saddlepoint evaluate: measures a run again, or anybody's samples, by a protocol that is written down."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table

from saddlepoint.callback.evaluation import sampler, scores
from saddlepoint.command import why
from saddlepoint.command.build import (
    config_of,
    data_of,
    device_of,
    evaluator_of,
    game_of,
    put,
    second_of,
    set_threads,
)
from saddlepoint.command.check import check
from saddlepoint.command.compose import compose
from saddlepoint.command.table import Spread, details, measured, over_the_run
from saddlepoint.command.terminal import Meter, speaker
from saddlepoint.data.data import Split
from saddlepoint.data.samples import read
from saddlepoint.error import Mistake
from saddlepoint.game.game import Game
from saddlepoint.metric.contract import Score
from saddlepoint.metric.evaluator import Evaluator
from saddlepoint.metric.extractor import Features
from saddlepoint.metric.uncertainty import generations, uncertainty
from saddlepoint.record.provenance import now
from saddlepoint.record.run import Run, write
from saddlepoint.record.snapshot import every

Scores = dict[str, Score]
Spreads = dict[str, Spread]  # by score


class Care(NamedTuple):
    """How standard errors are had."""

    generations: int = 5  # fresh ones, the reals fixed
    groups: int = 20  # of the delete-a-group jackknife


def command(config: DictConfig, rest: Sequence[str] = (), config_dir: str | None = None) -> int:
    """The console's door; `rest` overrides the run's own config."""
    console = Console(stderr=True)
    if config.against is not None:
        if config.run is None or config.samples is not None:
            raise Mistake("against=... compares two runs: say run=<one> against=<the other>")
        why.why(config.run, config.against, rest, config_dir, console)
        return 0
    care = Care(config.generations, config.groups) if config.uncertainty else None
    found = evaluate(config.run, config.at, rest, config_dir, console, config.samples, care)
    if config.to is not None:
        plain = {whose: {key: score.to_dict() for key, score in own.items()} for whose, own in found.items()}
        write(Path(config.to), json.dumps(plain, indent=2) + "\n")
    return 0


def evaluate(
    run: str | Path | None = None,
    at: str | int = "last",
    overrides: Sequence[str] = (),
    config_dir: str | Path | None = None,
    console: Console | None = None,
    samples: str | Path | None = None,
    care: Care | None = None,
) -> dict[str, Scores]:
    """The scores of `samples`, or of a run at `at`, by what was measured; printed with their contracts.

    `care` asks for standard errors too, which take minutes where the scores take seconds.

    A run's are added to its evaluations.jsonl.  Samples are measured by the protocol of `run`, or of what `overrides`
    compose: data=mnist.  Raises Mistake where the run, the checkpoint, the samples or an extractor is missing.
    """
    console = console or Console(stderr=True)
    say = speaker(console)
    config = _config(run, samples, overrides, config_dir, say)
    check(config)
    data = data_of(config)
    rulers = _rulers(config, data, console)
    if samples is not None:
        return {str(samples): _samples(read(samples, data.shape, say), data, rulers, console, care)}
    return _moments(Run(str(run)), at, config, data, rulers, console, overrides, care)


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
        raise Mistake("what is to be measured? run=<a run folder>, or samples=<a folder, zip or npz> data=<its data>")
    if not any(word.startswith("data=") for word in overrides):
        raise Mistake("samples are measured against data: add data=mnist, or data=image_folder data.folder=...")
    return compose(overrides, config_dir)


def _rulers(config: DictConfig, data: Any, console: Console) -> list[Evaluator]:
    """The evaluator that the config describes, and the second ruler's.  Raises Mistake where there is none."""
    say, progress = speaker(console), Meter(console)
    evaluator = evaluator_of(config, data, say, progress)
    if evaluator is None:
        raise Mistake("nothing can measure these data: name an extractor, evaluation.extractor=inception for one")
    second = second_of(config, data, say, progress)
    return [evaluator] if second is None else [evaluator, second]


def _samples(split: Split, data: Any, rulers: list[Evaluator], console: Console, care: Care | None) -> Scores:
    found: Scores = {}
    spread: Spreads = {}
    anchors: dict[str, Scores] = {}
    for evaluator in rulers:
        own = evaluator.measure(split, data)
        found |= own
        if care is not None:
            fakes = evaluator.features(split.batches(evaluator.batch), len(split), "samples")
            spread |= _errors(evaluator, fakes, data, own, care, folder=True)
        evaluator.n = len(split)  # the anchors are as many: a distance falls with n
        _gather(anchors, evaluator.anchors(data))
    _show([*measured("samples", found, anchors, spread), *details(found)], console)
    return found


def _moments(
    run: Run,
    at: str | int,
    config: DictConfig,
    data: Any,
    rulers: list[Evaluator],
    console: Console,
    overrides: Sequence[str],
    care: Care | None,
) -> dict[str, Scores]:
    """The scores of a run at one moment, or at every snapshot, by images; each written down as soon as it is there."""
    say = speaker(console)
    game = game_of(config)
    set_threads(config, game)
    settings = config.evaluation
    drawn = settings.average, settings.get("batch_norm", "running")
    moments = every(run) if at == "all" else [at]
    if not moments:
        raise Mistake(f"{run.folder} has no snapshots: it was trained without callback.snapshot")
    if at == "all" and not settings.average and game.generator.average is not None:
        raise Mistake("snapshots hold averaged weights: evaluation.average=false finds nothing in them")
    anchors: dict[str, Scores] = {}
    for evaluator in rulers:
        _gather(anchors, evaluator.anchors(data))
    found: dict[str, Scores] = {}
    for moment in moments:
        put(game, run, moment, say)
        game.to(device_of(config))
        own: Scores = {}
        spread: Spreads = {}
        for evaluator in rulers:
            measured_now = scores(evaluator, game, data, *drawn)
            own |= measured_now
            if care is not None:
                spread |= _errors_of_run(evaluator, game, data, drawn, measured_now, care)
        row: dict[str, Any] = {
            "evaluated": now(),
            "at": moment,
            "images": game.images,
            "overrides": list(overrides),
            "scores": {key: score.to_dict() for key, score in own.items()},
        }
        if care is not None:
            row["uncertainty"] = {"care": care._asdict(), **{key: one._asdict() for key, one in spread.items()}}
        run.append("evaluations.jsonl", row)
        found[str(game.images)] = own
        if at != "all":
            title = f"{run.folder}, {moment}, {game.images:,} images"
            _show([*measured(title, own, anchors, spread), *details(own)], console)
    if at == "all":
        _show(over_the_run(f"{run.folder}, every snapshot", found, anchors), console)
    return found


def _errors_of_run(
    evaluator: Evaluator, game: Game, data: Any, drawn: tuple[bool, str], first: Scores, care: Care
) -> Spreads:
    """Of each score: its spread over fresh generations, and its standard error over the reals."""
    fresh = [first]
    for number in range(1, care.generations):
        fresh.append(scores(evaluator, game, data, *drawn, stream=f"evaluation/{number}"))
    spread = generations([{key: score.value for key, score in one.items()} for one in fresh])
    n, sample = evaluator.size(data), sampler(game, *drawn)
    batches = (sample(min(evaluator.batch, n - done)) for done in range(0, n, evaluator.batch))
    errors = _errors(evaluator, evaluator.features(batches, n, "samples"), data, first, care)
    return {
        key: Spread(spread[key][1], spread[key][0], errors[key].reals if key in errors else None)
        for key in first
        if key in spread
    }


def _errors(evaluator: Evaluator, fakes: Features, data: Any, own: Scores, care: Care, folder: bool = False) -> Spreads:
    """Of each score, its jackknife errors."""
    split = data.split(evaluator.split)
    reals = evaluator.features(split.batches(evaluator.batch), len(split), f"the {split.name} split")
    found = uncertainty(evaluator, fakes, reals, split, folder, care.groups)
    by_metric = {score.contract.metric: key for key, score in own.items()}
    return {by_metric[m]: Spread(reals=one.reals, fakes=one.fakes) for m, one in found.items() if m in by_metric}


def _gather(anchors: dict[str, Scores], more: dict[str, Scores]) -> None:
    for name, own in more.items():
        anchors[name] = anchors.get(name, {}) | own


def _show(parts: Iterable[str | Table], console: Console) -> None:
    for part in parts:
        console.print(part, soft_wrap=isinstance(part, str), markup=False, highlight=False)
