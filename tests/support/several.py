"""Runs on two ranks of which one has a fault or gets a signal, in a module that their processes can import."""

import io
import os
import signal

import torch
from rich.console import Console

from saddlepoint.callback.checkpoint import Checkpoint
from saddlepoint.config.compose import compose
from saddlepoint.experiment.train import train
from saddlepoint.game.game import Game
from saddlepoint.game.player import Player

NORM = "{_target_: torch.nn.BatchNorm1d, _partial_: true}"
SMALL = ["data=gaussians", "data.number=600", "images=96", "batch=16", "logger=none", "name=run",
         "metric=[frechet_distance]",
         "evaluation.n=250", "evaluation.batch=100", "evaluation.second_extractor=null",
         "evaluation.selection.split=null",
         "architecture.generator.widths=[16]", "architecture.discriminator.widths=[16]",
         "callback=[finite,checkpoint]", "callback.checkpoint.images_between=32"]  # fmt: skip
MEASURED = ["callback=[finite,evaluation,grid,snapshot,checkpoint]", f"architecture.generator.norm={NORM}",
            "game.players.generator.average.statistics=reestimated", "callback.evaluation.images_between=96",
            "callback.grid.images_between=16", "callback.snapshot.images_between=48"]  # fmt: skip


def train_run(folder, *overrides):
    """Train SMALL with `overrides` into `folder`; return the run."""
    overrides = [*SMALL, *overrides, f"outputs={folder}", f"cache={folder}/cache"]
    return train(compose(overrides), Console(file=io.StringIO()))


def ending(folder, *overrides):
    """The name and message of the exception that ends the training; ("finished", "") without one."""
    try:
        train_run(folder, *overrides)
    except BaseException as error:
        return type(error).__name__, str(error)
    return "finished", ""


def on_ranks(rank, folder, ports):
    """How each training in PREPARED ends on this rank."""
    endings = {}
    for name, prepare in PREPARED.items():
        os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE="2", GROUP_RANK="0",
                          MASTER_ADDR="127.0.0.1", MASTER_PORT=str(ports.pop(0)))  # fmt: skip
        undo = prepare() if rank == 1 else lambda: None
        endings[name] = ending(f"{folder}/{name}", "devices=2", "device=cpu", *(MEASURED if name == "measured" else []))
        undo()
    return endings


def _replace_method(owner, name, replacement):
    """Replace a method by `replacement(original, self, ...)`; return a function that restores it."""
    original = getattr(owner, name)
    setattr(owner, name, lambda *arguments: replacement(original, *arguments))
    return lambda: setattr(owner, name, original)


def _at(images, act):
    """Call `act(game)` after so many images."""

    def after(original, game, batch):
        original(game, batch)
        if game.images == images:
            act(game)

    return lambda: _replace_method(Game, "round", after)


@torch.no_grad()
def _change_weights(game):
    next(game.discriminator.network.parameters()).add_(1e-6)


def _draw(game):
    game.streams["latent"].normal(1, 1)


def _change_optimizer(game):
    next(iter(game.optimizer("generator").state.values()))["exp_avg"].add_(1e-6)


def _fail(game):
    raise RuntimeError("rank 1's own words")


def _nan_loss():
    def losses(original, player, turn, number, *draws):
        values = original(player, turn, number, *draws)
        return {name: loss * float("nan") if turn.images == 48 else loss for name, loss in values.items()}

    return _replace_method(Player, "losses", losses)


def _signal_while_saving():
    def save(original, checkpoint, trainer, game, *arguments):
        original(checkpoint, trainer, game, *arguments)
        if game.images == 96:
            os.kill(os.getpid(), signal.SIGTERM)

    return _replace_method(Checkpoint, "on_train_batch_end", save)


PREPARED = {  # by name: a function that prepares the fault of rank 1
    "measured": lambda: lambda: None,
    "signal": _at(64, lambda game: os.kill(os.getpid(), signal.SIGTERM)),
    "signal at the end": _signal_while_saving,
    "drift": _at(48, _change_weights),
    "drift of a stream": _at(48, _draw),
    "drift of a memory": _at(64, _change_optimizer),
    "no number": _nan_loss,
    "lost": _at(48, _fail),
}
