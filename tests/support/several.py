"""Runs of two ranks that see, and are told, different things; in a module that their processes can import."""

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
         "evaluation.n=250", "evaluation.batch=100", "evaluation.second=null", "evaluation.selection.split=null",
         "architecture.generator.widths=[16]", "architecture.discriminator.widths=[16]",
         "callback=[finite,checkpoint]", "callback.checkpoint.images_between=32"]  # fmt: skip
MEASURED = ["callback=[finite,evaluation,grid,snapshot,checkpoint]", f"architecture.generator.norm={NORM}",
            "game.players.generator.average.statistics=reestimated", "callback.evaluation.images_between=96",
            "callback.grid.images_between=16", "callback.snapshot.images_between=48"]  # fmt: skip


def trained(folder, *words):
    """Train SMALL with `words` into `folder`; the run."""
    words = [*SMALL, *words, f"outputs={folder}", f"cache={folder}/cache"]
    return train(compose(words), Console(file=io.StringIO()))


def ended(folder, *words):
    """How such a training ends: the exception's name, and what it says."""
    try:
        trained(folder, *words)
    except BaseException as error:
        return type(error).__name__, str(error)
    return "finished", ""


def on_ranks(rank, folder, ports):
    """How each of these ends on this rank."""
    found = {}
    for name, prepare in PREPARED.items():
        os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE="2", GROUP_RANK="0",
                          MASTER_ADDR="127.0.0.1", MASTER_PORT=str(ports.pop(0)))  # fmt: skip
        undo = prepare() if rank == 1 else lambda: None
        found[name] = ended(f"{folder}/{name}", "devices=2", "device=cpu", *(MEASURED if name == "measured" else []))
        undo()
    return found


def _wrapped(owner, name, changed):
    """Have `changed(original, self, ...)` in the place of a method; returns what puts it back."""
    original = getattr(owner, name)
    setattr(owner, name, lambda *arguments: changed(original, *arguments))
    return lambda: setattr(owner, name, original)


def _at(images, act):
    """Once the game has shown so many images, `act` on it."""

    def after(original, game, batch):
        original(game, batch)
        if game.images == images:
            act(game)

    return lambda: _wrapped(Game, "round", after)


@torch.no_grad()
def _nudge(game):
    next(game.discriminator.network.parameters()).add_(1e-6)


def _draw(game):
    game.streams["latent"].normal(1, 1)


def _remember(game):
    next(iter(game.optimizer("generator").state.values()))["exp_avg"].add_(1e-6)


def _stumble(game):
    raise RuntimeError("rank 1's own words")


def _no_number():
    def losses(original, player, turn, number, *drawn):
        found = original(player, turn, number, *drawn)
        return {name: loss * float("nan") if turn.images == 48 else loss for name, loss in found.items()}

    return _wrapped(Player, "losses", losses)


def _told_while_the_last_round_is_saved():
    def saved(original, checkpoint, trainer, game, *rest):
        original(checkpoint, trainer, game, *rest)
        if game.images == 96:
            os.kill(os.getpid(), signal.SIGTERM)

    return _wrapped(Checkpoint, "on_train_batch_end", saved)


PREPARED = {  # what becomes of rank 1
    "measured": lambda: lambda: None,
    "told": _at(64, lambda game: os.kill(os.getpid(), signal.SIGTERM)),
    "told at the end": _told_while_the_last_round_is_saved,
    "drift": _at(48, _nudge),
    "drift of a stream": _at(48, _draw),
    "drift of a memory": _at(64, _remember),
    "no number": _no_number,
    "lost": _at(48, _stumble),
}
