"""Are samples copies of training images?  Of what a run's generator makes, or of stored samples.

What is held out must be a random part of the pool that the training set is of (`Data.pool`): an official test set is
told from it by a small network, and so would be "memorised" by any generator.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import torch
from omegaconf import DictConfig
from PIL import Image
from torch import Tensor

from saddlepoint.config.check import check
from saddlepoint.config.tree import CheckedConfig
from saddlepoint.console.terminal import ProgressMeter
from saddlepoint.data.data import ConcatSplit, Split
from saddlepoint.data.samples import load_samples_for
from saddlepoint.error import Mistake
from saddlepoint.evaluation.evaluator import Evaluator
from saddlepoint.evaluation.memorisation_alarm import SpaceNeighbours, memorisation_alarm
from saddlepoint.evaluation.memorisation_findings import (
    Finding,
    ImageSets,
    alarm_finding,
    draw_closest_samples,
    find_neighbours,
    membership_finding,
    memorisation_findings,
)
from saddlepoint.experiment.build import build_game, load_data, set_threads
from saddlepoint.experiment.devices import resolve_device
from saddlepoint.experiment.evaluators import extractor_from_config
from saddlepoint.experiment.restore import load_run_data, restore_checkpoint_or_snapshot
from saddlepoint.experiment.sample import draw_samples
from saddlepoint.extractor.extractor import Extractor, Features
from saddlepoint.game.game import Game
from saddlepoint.game.lineage import can_judge_samples, judge_of
from saddlepoint.game.sampling import full_batches, is_batch_dependent, reals_for_judge, sampling_modules
from saddlepoint.modality import modality_of
from saddlepoint.mode import in_mode
from saddlepoint.redaction import redact
from saddlepoint.run import destination
from saddlepoint.run.folder import Run, unwritable_error
from saddlepoint.run.provenance import timestamp
from saddlepoint.stream import Stream

PICTURE = "memorisation.png"
MIN_SAMPLES = 50  # samples, and held-out images, below which nothing here means anything
MOST = 10_000  # training images whose logits D is asked for
Log = Callable[[str], None]


class Protocol(NamedTuple):
    """How memorisation is measured: the command's keys of these names."""

    at: str | int  # of a run
    n: int
    level: float
    sample_seed: int
    average: bool


class MemorisationResult(NamedTuple):
    """What was measured: of what, the readings, and the row of memorisation.jsonl."""

    title: str
    readings: list[Finding]
    row: dict[str, Any]


def measure_memorisation(
    source: Run | str, config: DictConfig, overrides: Sequence[str], protocol: Protocol, to: str | None, log: Log,
    progress: ProgressMeter,
) -> MemorisationResult:  # fmt: skip
    """Measure what a run's generator makes, or the samples at a path; a run's memorisation.jsonl gets the row.

    to  where the picture of the closest samples goes; "-": nowhere; None: into the run, or the working directory
    Raises Mistake.
    """
    run = source if isinstance(source, Run) else None
    _check_destination(to, run)
    config = check(config)
    data = load_data(config, log) if run is None else load_run_data(run, config, overrides, log)
    held, train = held_out_splits(data), data.split("train")
    seed, game = protocol.sample_seed, None
    if run is not None:
        game = build_game(config)
        set_threads(config, game)
        restore_checkpoint_or_snapshot(game, run, protocol.at, log)
        game.to(resolve_device(config))
    split = _samples(game, source, data, protocol, log)
    if len(split) < MIN_SAMPLES:
        raise Mistake(f"{len(split)} samples say nothing of memorisation: bring {MIN_SAMPLES} at least, better 1,000.")
    wanted = data.extractor if config.evaluation.extractor == "auto" else config.evaluation.extractor
    ruler = extractor_from_config(config, data, wanted, log, progress)
    sets = _sets(split, train, held, ruler, config, seed, log, progress)
    n_train, n_held = len(sets.train.features), len(sets.held_out.features)
    found = find_neighbours(sets)
    log(f"{len(split):,} samples, {n_train:,} training and {n_held:,} held-out images")
    rung = memorisation_alarm(found, n_train, n_held, protocol.level, seed)
    rows = memorisation_findings(sets, seed)
    if (
        game is not None and can_judge_samples(game) and not str(protocol.at).isdigit()
    ):  # a snapshot: the generator alone
        rows.append(_membership(game, train, held, int(data.batch), seed))
    picture = None if to == "-" else _picture(sets, found, to, run, game, log)
    row = {
        "measured": timestamp(),
        "at": protocol.at,
        "images": game.images if game else None,
        "weights": sampling_modules(game, protocol.average)[1] if game else None,
        "overrides": redact(list(overrides)),
        **_numbers(sets, protocol, rung, rows),
        "picture": None if picture is None else str(picture),
    }
    title = str(source)
    if run is not None and game is not None:
        run.append("memorisation.jsonl", row)
        title = f"{run.folder}, {protocol.at}, {game.images:,} images"
    return MemorisationResult(title, [*rows, alarm_finding(rung, sets, protocol.level)], row)


def _numbers(sets: ImageSets, protocol: Protocol, rung: Any, rows: Sequence[Finding]) -> dict[str, Any]:
    """What was measured of how many, plain."""
    return {
        "n": len(sets.samples.features),
        "n_train": len(sets.train.features),
        "n_held_out": len(sets.held_out.features),
        "extractor": sets.extractor_name,
        "level": protocol.level,
        "seed": protocol.sample_seed,
        "alarm": {**rung._asdict(), "rings": bool(rung.rings)},
        "statistics": [asdict(one) for one in rows],
    }


def _check_destination(to: str | None, run: Run | None) -> None:
    if run is not None:
        destination.check_run_file(run, "memorisation.jsonl")
    if to != "-" and (to is not None or run is None):
        Image.init()
        known = {ending for ending, form in Image.registered_extensions().items() if form in Image.SAVE}
        destination.check_output_file(
            to or PICTURE, known, "the picture of the closest samples is a file that ends in .png or .jpg"
        )


def held_out_splits(data: Any) -> list[Split]:
    """The splits that nobody trained on and that are, with train, a random cut of one pool.  Raises Mistake."""
    held = [data.split(name) for name in getattr(data, "exchangeable_splits", ()) if name != "train"]
    if sum(map(len, held)) >= MIN_SAMPLES:
        return held
    if held:
        raise Mistake(
            f"{data.name} holds out {sum(map(len, held))} {modality_of(data).plural}, and {MIN_SAMPLES} are needed: hold out more."
        )
    remedy = "Train with data.reserved=5000, which sets training images aside." if hasattr(data, "reserved") else ""
    raise Mistake(
        f"{data.name}: no held-out images are a random part of the pool that its training images are of, so nothing "
        f"says how near fresh ones would come.\n{remedy or 'Bring them as data=image_folder, which is cut at random.'}"
    )


def _samples(game: Game | None, source: Run | str, data: Any, protocol: Protocol, log: Log) -> Split:
    """n samples: drawn from the game, or of those that are stored, at random where there are more."""
    if game is not None:
        x = draw_samples(game, protocol.n, protocol.sample_seed, protocol.average, modality=modality_of(data))
        return Split("samples", x, modality=modality_of(data))
    split = load_samples_for(data, str(source), log)
    order = torch.randperm(len(split), generator=Stream(protocol.sample_seed, "memorisation/samples").generator)
    return Split("samples", *split[order[: protocol.n]], modality=split.modality)


def _sets(
    split: Split, train: Split, held: Sequence[Split], ruler: Extractor | None, config: CheckedConfig, seed: int,
    log: Log, progress: ProgressMeter,
) -> ImageSets:  # fmt: skip
    if ruler is None:
        log("no features: these data have no extractor (evaluation.extractor=...)")
        evaluator = None
    else:
        evaluator = Evaluator(ruler, {}, 2, device=resolve_device(config), log=log, progress=progress)
    parts = []
    for name, whole in (("samples", [split]), ("train", [train]), ("held out", held)):
        if evaluator is None:
            x = torch.cat([x for part in whole for x, _ in part.batches(1000)])
            features = Features(modality_of(train).to_float(x).flatten(1).to(torch.float32), None, x)
        else:
            batches = (rows for part in whole for rows in part.batches(config.evaluation.batch))
            total = sum(map(len, whole))
            features = evaluator.extract_features(batches, total, f"the {name} images")._replace(logits=None, y=None)
        if name != "samples":
            stream = Stream(seed, f"memorisation/{name}")
            features = features.select(torch.randperm(len(features.features), generator=stream.generator))
        parts.append(features)
    extractor = None if ruler is None or ruler.name == "identity" else ruler.name
    return ImageSets(
        *parts, extractor_name=extractor, extractor_is_independent=extractor == "inception", modality=modality_of(train)
    )


def _membership(game: Game, train: Split, held: Sequence[Split], batch: int, seed: int) -> Finding:
    """Whether D tells training images from held-out ones, MOST of each; `batch` is that of its training."""
    members, others = (
        _logits(game, split, torch.randperm(len(split), generator=Stream(seed, name).generator)[:MOST], batch)
        for name, split in (("memorisation/members", train), ("memorisation/others", ConcatSplit("held out", held)))
    )
    return membership_finding(members, others)


@torch.no_grad()
def _logits(game: Game, split: Split, rows: Tensor, batch: int) -> Tensor:
    """The mean logit of each of `rows`, [n], in evaluation mode, D asked as in training where that counts."""
    network, found = judge_of(game).network, []
    stream = Stream(game.seed, f"memorisation/{split.name}", device=game.device)
    with in_mode(game):
        for part in full_batches(len(rows), batch if is_batch_dependent(network) else 500):
            sample = reals_for_judge(game, split.batch_at(rows[part]).to(game.device), stream)
            found.append(network(sample.x, sample.condition).logits.reshape(len(part), -1).mean(1).cpu())
    return torch.cat(found)[: len(rows)]


def _picture(
    sets: ImageSets, found: Mapping[str, SpaceNeighbours], to: str | None, run: Run | None, game: Game | None, log: Log
) -> Path | None:
    """Where the closest samples are drawn beside their neighbours; None for what is no image."""
    if not sets.modality.planar:
        log(f"{sets.modality.name} are not drawn")
        return None
    path = Path(to or PICTURE)
    if not to and run is not None and game is not None:
        path = run.folder / "memorisation" / f"{game.images:09d}.png"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draw_closest_samples(sets, found).save(path)
    except OSError as error:
        raise unwritable_error(path, error) from None
    except ValueError as error:
        raise Mistake(f"to={path}: {error}") from None
    log(f"the closest samples beside their neighbours: {path}")
    return path
