"""Whether samples are copies of training images, for the generator of a run or for stored samples.

The held-out images must be a random part of the same pool as the training set (`Data.exchangeable_splits`): a small
network can distinguish an official test set from it, so with a test set every generator would seem to memorise.
"""

from collections.abc import Mapping, Sequence
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
from saddlepoint.experiment.evaluators import load_or_train_configured_extractor
from saddlepoint.experiment.restore import load_run_data, restore_checkpoint_or_snapshot
from saddlepoint.experiment.sample import draw_samples
from saddlepoint.extractor.extractor import Extractor, Features
from saddlepoint.game.game import Game
from saddlepoint.game.lineage import can_judge_samples, judge_player
from saddlepoint.game.sampling import full_batch_indices, is_batch_dependent, reals_for_judge, sampling_modules
from saddlepoint.modality import modality_of
from saddlepoint.mode import in_mode
from saddlepoint.redaction import redact
from saddlepoint.run import destination
from saddlepoint.run.folder import Run, unwritable_error
from saddlepoint.run.provenance import timestamp
from saddlepoint.run.storage.cache import Log
from saddlepoint.stream import Stream

PICTURE = "memorisation.png"
MIN_SAMPLES = 50  # samples, and held-out images, below which the statistics mean nothing
MAX_LOGITS = 10_000  # training images whose logits D computes


class Protocol(NamedTuple):
    """How memorisation is measured; the fields are keys of the command."""

    at: str | int  # last, best or the images of a snapshot
    n: int
    level: float
    sample_seed: int
    average: bool


class MemorisationResult(NamedTuple):
    """The result: a title, the findings, and the row of memorisation.jsonl."""

    title: str
    findings: list[Finding]
    row: dict[str, Any]


def measure_memorisation(
    source: Run | str, config: DictConfig, overrides: Sequence[str], protocol: Protocol, to: str | None, log: Log,
    progress: ProgressMeter,
) -> MemorisationResult:  # fmt: skip
    """Measure memorisation of a run's generator, or of the samples at a path; a run's memorisation.jsonl gets a row.

    to  the path of the picture of the closest samples; "-": no picture; None: in the run, or the working directory
    Raises Mistake if there are too few samples or held-out images, or if the output cannot be written.
    """
    run = source if isinstance(source, Run) else None
    _check_destination(to, run)
    config = check(config)
    data = load_data(config, log) if run is None else load_run_data(run, config, overrides, log)
    held_out, train = held_out_splits(data), data.split("train")
    seed, game = protocol.sample_seed, None
    if run is not None:
        game = build_game(config)
        set_threads(config, game)
        restore_checkpoint_or_snapshot(game, run, protocol.at, log)
        game.to(resolve_device(config))
    split = _load_or_draw_samples(game, source, data, protocol, log)
    if len(split) < MIN_SAMPLES:
        raise Mistake(f"{len(split)} samples are too few for memorisation: use at least {MIN_SAMPLES}, better 1,000.")
    requested = data.extractor if config.evaluation.extractor == "auto" else config.evaluation.extractor
    extractor = load_or_train_configured_extractor(config, data, requested, log, progress)
    sets = _extract_image_sets(split, train, held_out, extractor, config, seed, log, progress)
    n_train, n_held_out = len(sets.train.features), len(sets.held_out.features)
    neighbours = find_neighbours(sets)
    log(f"{len(split):,} samples, {n_train:,} training and {n_held_out:,} held-out images")
    alarm = memorisation_alarm(neighbours, n_train, n_held_out, protocol.level, seed)
    findings = memorisation_findings(sets, seed)
    is_snapshot = str(protocol.at).isdigit()  # which holds only the generator
    if game is not None and can_judge_samples(game) and not is_snapshot:
        findings.append(_measure_membership(game, train, held_out, int(data.batch), seed))
    picture = None if to == "-" else _save_picture(sets, neighbours, to, run, game, log)
    row = {
        "measured": timestamp(),
        "at": protocol.at,
        "images": game.images if game else None,
        "weights": sampling_modules(game, protocol.average)[1] if game else None,
        "overrides": redact(list(overrides)),
        **_plain_statistics(sets, protocol, alarm, findings),
        "picture": None if picture is None else str(picture),
    }
    title = str(source)
    if run is not None and game is not None:
        run.append("memorisation.jsonl", row)
        title = f"{run.folder}, {protocol.at}, {game.images:,} images"
    return MemorisationResult(title, [*findings, alarm_finding(alarm, sets, protocol.level)], row)


def _plain_statistics(sets: ImageSets, protocol: Protocol, alarm: Any, findings: Sequence[Finding]) -> dict[str, Any]:
    """Return the sample counts, settings and statistics as plain values."""
    return {
        "n": len(sets.samples.features),
        "n_train": len(sets.train.features),
        "n_held_out": len(sets.held_out.features),
        "extractor": sets.extractor_name,
        "level": protocol.level,
        "seed": protocol.sample_seed,
        "alarm": {**alarm._asdict(), "rings": bool(alarm.rings)},
        "statistics": [asdict(finding) for finding in findings],
    }


def _check_destination(to: str | None, run: Run | None) -> None:
    if run is not None:
        destination.check_run_file(run, "memorisation.jsonl")
    if to != "-" and (to is not None or run is None):
        Image.init()
        suffixes = {suffix for suffix, name in Image.registered_extensions().items() if name in Image.SAVE}
        destination.check_output_file(
            to or PICTURE, suffixes, "the picture of the closest samples is a file that ends in .png or .jpg"
        )


def held_out_splits(data: Any) -> list[Split]:
    """Return the held-out splits from the same random pool as train.  Raises Mistake if there are too few images."""
    splits = [data.split(name) for name in getattr(data, "exchangeable_splits", ()) if name != "train"]
    if sum(map(len, splits)) >= MIN_SAMPLES:
        return splits
    if splits:
        raise Mistake(
            f"{data.name} holds out {sum(map(len, splits))} {modality_of(data).plural}, but at least {MIN_SAMPLES} are "
            "needed: train a new run that holds out more (data.validation and data.test, if the data have these keys)."
        )
    remedy = "Train with data.reserved=5000, which sets training images aside." if hasattr(data, "reserved") else ""
    raise Mistake(
        f"{data.name}: no held-out images are a random part of the same pool as its training images, so it is unknown "
        f"how close new images would be.\n{remedy or 'Use them as data=image_folder, which is split at random.'}"
    )


def _load_or_draw_samples(game: Game | None, source: Run | str, data: Any, protocol: Protocol, log: Log) -> Split:
    """Return n samples: drawn from the game, or a random subset of the stored ones."""
    if game is not None:
        x = draw_samples(game, protocol.n, protocol.sample_seed, protocol.average, modality=modality_of(data))
        return Split("samples", x, modality=modality_of(data))
    split = load_samples_for(data, str(source), log)
    order = torch.randperm(len(split), generator=Stream(protocol.sample_seed, "memorisation/samples").generator)
    return Split("samples", *split[order[: protocol.n]], modality=split.modality)


def _extract_image_sets(
    split: Split, train: Split, held_out: Sequence[Split], extractor: Extractor | None, config: CheckedConfig,
    seed: int, log: Log, progress: ProgressMeter,
) -> ImageSets:  # fmt: skip
    """Compute the features of the samples, the training images and the held-out images; pixels without an extractor."""
    if extractor is None:
        log("no features: these data have no extractor (evaluation.extractor=...)")
        evaluator = None
    else:
        evaluator = Evaluator(extractor, {}, 2, device=resolve_device(config), log=log, progress=progress)
    feature_sets = []
    for name, splits in (("samples", [split]), ("train", [train]), ("held out", held_out)):
        if evaluator is None:
            x = torch.cat([x for each in splits for x, _ in each.batches(1000)])
            features = Features(modality_of(train).to_float(x).flatten(1).to(torch.float32), None, x)
        else:
            batches = (rows for each in splits for rows in each.batches(config.evaluation.batch))
            count = sum(map(len, splits))
            features = evaluator.extract_features(batches, count, f"the {name} images")._replace(logits=None, y=None)
        if name != "samples":
            stream = Stream(seed, f"memorisation/{name}")
            features = features.select(torch.randperm(len(features.features), generator=stream.generator))
        feature_sets.append(features)
    name = None if extractor is None or extractor.name == "identity" else extractor.name
    return ImageSets(
        *feature_sets, extractor_name=name, extractor_is_independent=name == "inception", modality=modality_of(train)
    )


def _measure_membership(game: Game, train: Split, held_out: Sequence[Split], batch: int, seed: int) -> Finding:
    """Measure how well D separates training images from held-out ones, at most MAX_LOGITS of each.

    batch  the batch size of its training
    """
    members, others = (
        _mean_logits(
            game, split, torch.randperm(len(split), generator=Stream(seed, name).generator)[:MAX_LOGITS], batch
        )
        for name, split in (("memorisation/members", train), ("memorisation/others", ConcatSplit("held out", held_out)))
    )
    return membership_finding(members, others)


@torch.no_grad()
def _mean_logits(game: Game, split: Split, rows: Tensor, batch: int) -> Tensor:
    """Return the mean logit of each of `rows`, [n], in evaluation mode, with D's training batch if it matters."""
    network, logits = judge_player(game).network, []
    stream = Stream(game.seed, f"memorisation/{split.name}", device=game.device)
    with in_mode(game):
        for indices in full_batch_indices(len(rows), batch if is_batch_dependent(network) else 500):
            sample = reals_for_judge(game, split.batch_at(rows[indices]).to(game.device), stream)
            logits.append(network(sample.x, sample.condition).logits.reshape(len(indices), -1).mean(1).cpu())
    return torch.cat(logits)[: len(rows)]


def _save_picture(
    sets: ImageSets,
    neighbours: Mapping[str, SpaceNeighbours],
    to: str | None,
    run: Run | None,
    game: Game | None,
    log: Log,
) -> Path | None:
    """Draw the closest samples next to their neighbours and return the path; None for samples that are not images."""
    assert sets.train.x is not None
    shape = tuple(sets.network_input(sets.train.select(torch.tensor([0]))).shape[1:])
    if sets.modality.image_shape(shape) is None:
        log(f"no picture: samples of modality {sets.modality.name} are not drawn")
        return None
    path = Path(to or PICTURE)
    if not to and run is not None and game is not None:
        path = run.folder / "memorisation" / f"{game.images:09d}.png"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draw_closest_samples(sets, neighbours).save(path)
    except OSError as error:
        raise unwritable_error(path, error) from None
    except ValueError as error:
        raise Mistake(f"to={path}: {error}") from None
    log(f"the closest samples next to their neighbours: {path}")
    return path
