"""Blocks of rounds: results do not depend on them, and callbacks act at the same rounds."""

import math
from itertools import pairwise
from types import SimpleNamespace

import pytest
import pytorch_lightning as pl
import torch
from play import batches, game
from rich.console import Console
from runs import assert_equal, rows, state

from saddlepoint.callback.equilibrium_distance import EquilibriumDistance
from saddlepoint.callback.health import UnhealthyRun
from saddlepoint.callback.periodic import Blocks, Periodic, RunState, StopAtImages
from saddlepoint.config.compose import compose
from saddlepoint.error import Mistake
from saddlepoint.experiment.train import train
from saddlepoint.game.game_module import GameModule
from saddlepoint.objective import minimax

BLOCKS = [1, 3, 16]
# 700 images are 44 rounds; no period is a multiple of another one, or of 3 or 16 rounds
TINY = ["data=gaussians", "data.number=500", "batch=16", "logger=none", "name=run", "threads=1",
        "architecture.generator.widths=[16]", "architecture.discriminator.widths=[16]",
        "evaluation.extractor=null", "metric=[frechet_distance]", "evaluation.n=200", "evaluation.batch=100",
        "evaluation.second_extractor=null", "callback.health.n=32",
        "callback=[finite,evaluation,snapshot,journal,checkpoint,progress,health]",
        "callback.evaluation.images_between=340", "callback.journal.images_between=70",
        "callback.snapshot.images_between=200", "callback.checkpoint.images_between=150",
        "callback.health.images_between=110"]  # fmt: skip


def run(folder, *overrides):
    return train(compose([*TINY, f"outputs={folder}", *overrides]), Console(quiet=True))


class Batches:
    """A loader like that of the data: batches, or for blocks one iterator again and again."""

    def __init__(self, plays, rounds=1000):
        self.plays, self.rounds = plays, rounds

    def __iter__(self):
        if self.plays.block == 1:
            yield from batches(self.rounds)
            return
        iterator = iter(batches(self.rounds))
        while True:
            yield iterator


def play_blocks(block, images, callbacks=(), rounds=1000, log=lambda line: None, **settings):
    """Play a game in blocks until `images`; return it."""
    torch.manual_seed(0)
    plays = game(minimax)
    trainer = pl.Trainer(
        accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False, max_epochs=-1,
        enable_model_summary=False, **settings,
        callbacks=[StopAtImages(RunState(images)), Blocks(block, log), *callbacks],
    )  # fmt: skip
    trainer.fit(plays, Batches(plays, rounds))
    return plays


class Every(Periodic):
    """Records the images at which it is due."""

    def __init__(self, images_between):
        super().__init__(images_between)
        self.due, self.blocks = [], []

    def on_due(self, trainer, plays):
        self.due.append(plays.images)

    def on_train_batch_end(self, trainer, plays, outputs, batch, batch_idx):
        self.blocks.append((plays.images - plays.images_before_block) // 16)
        super().on_train_batch_end(trainer, plays, outputs, batch, batch_idx)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("block", BLOCKS)
def test_a_block_is_cut_where_a_callback_is_due(block):
    one, other = Every(100), Every(72)
    assert play_blocks(block, 700, [one, other]).images == 704
    assert one.due == [0, *(16 * math.ceil(i * 100 / 16) for i in range(1, 8))]  # the last is the end
    assert other.due == [0, *(16 * math.ceil(i * 72 / 16) for i in range(1, 10)), 704]
    ends = sorted({*one.due, *other.due})
    longest = [(end - start) // 16 for start, end in pairwise(ends)]
    assert one.blocks == [n for rounds in longest for n in [block] * (rounds // block) + [rounds % block] if n]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_the_game_does_not_depend_on_the_block(precision):
    first, *others = (play_blocks(block, 300, [Every(100)], precision=precision) for block in BLOCKS)
    for other in others:
        assert_equal(first.state_dict(), other.state_dict())
        assert_equal(first.report(), other.report())


def test_a_run_does_not_depend_on_its_blocks_also_if_it_is_resumed_with_others(tmp_path):
    one, many = (run(tmp_path / str(block), "images=700", f"block={block}") for block in (1, 16))
    # the first 22 rounds end within a block of 3, and the next ones go on within a block of 16
    run(tmp_path / "resumed", "images=352", "block=3")
    resumed = run(tmp_path / "resumed", "images=700", "block=16")
    for record in (many, resumed):
        assert_equal(state(one), state(record))
        assert record.summary["final"] == one.summary["final"]
    assert rows(one) == rows(many)
    assert [row["images"] for row in rows(one) if "generator/adversarial" in row][:4] == [80, 144, 224, 288]
    one, many = ([path.name for path in sorted((r.folder / "snapshots").iterdir())] for r in (one, many))
    assert one == many == [f"{images:09d}.safetensors" for images in (0, 208, 400, 608, 704)]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("block", BLOCKS)
def test_a_request_to_stop_ends_the_run_after_its_round(block):
    class Stop(pl.Callback):
        def after_round(self, trainer, plays):
            trainer.should_stop = plays.rounds == 5

    assert play_blocks(block, 700, [Stop()]).rounds == 5


@pytest.mark.filterwarnings("ignore")
def test_a_measurement_of_every_round_does_not_depend_on_the_block():
    distances = [EquilibriumDistance(rounds=7) for _ in BLOCKS]
    for block, distance in zip(BLOCKS, distances, strict=True):
        play_blocks(block, 320, [distance])
    assert distances[0].distances == distances[1].distances == distances[2].distances
    assert len(set(distances[0].distances)) == 7


def test_an_alarm_of_health_ends_the_run_at_its_check(tmp_path):
    alarm = "callback.health.rules.collapse={raise_at: 1000, clear_at: 2000, after: 2, since: 0}"
    with pytest.raises(UnhealthyRun, match="stopped by collapse after 224 images"):
        run(tmp_path, "images=700", "block=16", alarm, "callback.health.stop=[collapse]")


class Watch(pl.Callback):
    """A callback of a user, with Lightning's hooks."""

    def __init__(self):
        self.seen = []

    def on_train_batch_end(self, trainer, plays, outputs, batch, batch_idx):
        self.seen.append((plays.rounds, len(batch), batch_idx))


@pytest.mark.filterwarnings("ignore")
def test_a_callback_with_lightnings_hooks_sees_every_batch_which_is_said_once():
    watch, lines = Watch(), []
    play_blocks(16, 160, [Every(100), watch], log=lines.append)
    assert watch.seen == [(i + 1, 16, i) for i in range(10)]
    assert len(lines) == 1
    assert "block=1 in place of 16: Watch may act after every batch" in lines[0]
    play_blocks(1, 160, [watch], log=lines.append)
    assert len(lines) == 1
    seen = []
    play_blocks(16, 160, [pl.callbacks.LambdaCallback(on_train_batch_start=lambda *rest: seen.append(len(rest[2])))])
    assert seen == [16] * 10


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("images_between", [None, 0, "64", 2.5])
def test_a_period_that_is_no_number_of_images_is_none(images_between):
    watch = Watch()
    watch.images_between = images_between
    play_blocks(16, 160, [watch])
    assert len(watch.seen) == 10


def test_a_hook_of_a_game_sees_every_round():
    class Own(GameModule):
        def on_train_batch_end(self, outputs, batch, batch_idx):
            pass

    for plays, block in ((Own(), 1), (GameModule(), 16)):
        Blocks(16, lambda line: None).setup(SimpleNamespace(callbacks=[]), plays, "fit")
        assert plays.block == block


@pytest.mark.filterwarnings("ignore")
def test_batches_that_end_are_refused():
    with pytest.raises(Mistake, match="training_batches must be an endless iterator"):
        play_blocks(16, 700, rounds=20)


def test_a_block_takes_no_more_batches_than_it_plays():
    plays = game(minimax)
    plays.trainer = SimpleNamespace(should_stop=False, fabric=None)
    iterator = iter(batches(10))
    plays.round = lambda batch: setattr(plays, "images", plays.images + 16)
    plays.block, plays.block_periods = 8, (48,)
    plays.training_step(iterator, 0)
    assert plays.images == 48
    assert len(list(iterator)) == 7
