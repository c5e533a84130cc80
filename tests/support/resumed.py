"""Runs that stop and are resumed, in a module that the processes of several ranks can import."""

import os
from pathlib import Path

import sentences
import torch

QUIET = ["logger=none", "evaluation.extractor=null", "callback=[finite,checkpoint,journal]", "batch=16",
         "callback.checkpoint.images_between=1000000", "architecture.generator.widths=[16]",
         "architecture.discriminator.widths=[16]"]  # fmt: skip
LAST = "run/seed0/checkpoints/last.ckpt"
CONFIGS = {
    "historical averaging, schedules": [
        "regularizer=[historical_averaging]",
        "+schedule@optimizer.generator.lr=cosine", "optimizer.generator.lr={start: 1e-3, end: 1e-4, images: 480}",
        "+schedule@optimizer.discriminator.lr=linear", "optimizer.discriminator.lr={start: 1e-3, end: 0, images: 480}",
    ],
    "minibatch discrimination, semi-supervised, mirrored": [
        "data.flip=true", "data.labels=2", "regularizer=[classification]",
        "architecture.discriminator.heads={label: 10}",
        "+layer@architecture.discriminator.neck=minibatch_discrimination", "architecture.discriminator.neck.kernels=4",
    ],
    "virtual batch norm, projection by class": [
        "+layer@architecture.generator.norm=virtual_batch_norm", "architecture.generator.norm.reference=8",
        "game=conditional", "architecture.generator.condition={label: 10}",
        "+layer@architecture.discriminator.readout=projection",
    ],
    "D:G 5:1": ["game.players.generator.every=5", "regularizer=[gradient_penalty]", "objective=wasserstein"],
    "adaptive augmentation": [
        "game=adaptive_augment", "game.makers.augment.speed=1000", "game.makers.augment.start=0.5",
    ],
    "tokens": ["architecture=sequence", "data=text_lines", "data.unit=word", "data.folder={sentences}"],
}  # fmt: skip


def train_run(overrides, folder, ports=None, rank=0):
    """Train `overrides` into `folder`; with `ports`, as one of two ranks, with the next port."""
    from rich.console import Console

    from saddlepoint.config.compose import compose
    from saddlepoint.experiment.train import train

    overrides = [o.format(sentences=sentences.write_sentences()) if "{sentences}" in o else o for o in overrides]
    config = compose([*QUIET, *overrides, f"outputs={folder}", "name=run"])
    if ports:
        os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE="2", GROUP_RANK="0",
                          MASTER_ADDR="127.0.0.1", MASTER_PORT=str(ports.pop(0)))  # fmt: skip
    train(config, Console(quiet=True))


def checkpoint_content(folder):
    """The content of the last checkpoint of a run, tensors as bytes."""
    return to_plain(torch.load(Path(folder) / LAST, weights_only=True))


def to_plain(value):
    if isinstance(value, torch.Tensor):
        return value.dtype, tuple(value.shape), value.numpy().tobytes()
    if isinstance(value, dict):
        return {str(key): to_plain(item) for key, item in value.items()}
    return [to_plain(item) for item in value] if isinstance(value, list | tuple) else value


def all_on_ranks(rank, folder, ports):
    """Train 2N images at once, and in two halves, on two ranks; resume a run of one process; play shorter blocks."""
    for i, overrides in enumerate(CONFIGS.values()):
        train_run([*overrides, "images=480", "devices=2"], f"{folder}/{i}/whole", ports, rank)
        train_run([*overrides, "images=240", "devices=2"], f"{folder}/{i}/halves", ports, rank)
        train_run([*overrides, "images=480", "devices=2"], f"{folder}/{i}/halves", ports, rank)
    train_run([*CONFIGS["D:G 5:1"], "images=480", "devices=2"], f"{folder}/moved", ports, rank)
    train_run([*CONFIGS["D:G 5:1"], "images=480", "devices=2", "block=3"], f"{folder}/blocks", ports, rank)
