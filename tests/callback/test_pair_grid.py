"""Pictures of pairs: input, sample and truth of the same rows each time, and of no game without a truth."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from PIL import Image
from torchvision.transforms.functional import pil_to_tensor

from saddlepoint.callback.pair_grid import PairGrid, pair_tiles
from saddlepoint.config.compose import compose
from saddlepoint.error import Mistake
from saddlepoint.experiment.build import build
from saddlepoint.game.pairs import draw_pair
from saddlepoint.pixel import to_uint8
from saddlepoint.run.folder import Run
from saddlepoint.stream import Stream

INPAINTING = ["game=inpainting", "architecture.generator.condition={known: 64, mask: 64}", "metric=[]", "cache=null"]
INPAINTING += ["architecture.discriminator.condition={mask: 64}", "game.conditions=split:test"]


def test_a_grid_has_input_sample_and_truth_side_by_side(tmp_path) -> None:
    experiment = build(compose(INPAINTING))
    callback = PairGrid(100, Run(tmp_path), rows=2, columns=1, scale=1)
    callback.before_run(experiment.game, experiment.data)
    before = torch.get_rng_state()
    logged: list[Any] = []
    logger = SimpleNamespace(log_image=lambda key, path, step: logged.append((key, path, step)))
    trainer: Any = SimpleNamespace(is_global_zero=True, datamodule=experiment.data, loggers=[logger])
    callback.on_due(trainer, experiment.game)
    path = tmp_path / "samples" / "pairs" / "000000000.png"
    assert logged == [("pairs", path, 0)]
    assert torch.equal(torch.get_rng_state(), before)
    picture = pil_to_tensor(Image.open(path).convert("L"))[0]
    tiles = [[picture[2 + 10 * i : 10 + 10 * i, 2 + 10 * j : 10 + 10 * j] for j in range(3)] for i in range(2)]
    truth = experiment.data.split("test").x[:2, 0]
    stream = Stream(experiment.game.seed, "pair grid")
    condition, _ = draw_pair(experiment.game, 2, stream)
    sample = to_uint8(experiment.game.sample(2, condition, stream))[:, 0]
    for i in range(2):
        known, made, true = tiles[i]
        assert torch.equal(true, truth[i])
        assert torch.equal(made, sample[i])
        assert bool((known[2:6, 2:6] == 128).all())  # 0, between black and white
        assert torch.equal(known[:2], truth[i, :2])


def test_smaller_and_grey_inputs_are_shown_in_the_size_of_samples() -> None:
    x, target = torch.rand(2, 3, 8, 8), torch.rand(2, 3, 8, 8)
    tiles = pair_tiles(torch.rand(2, 1, 4, 4), x, target)
    assert tiles.shape == (6, 3, 8, 8)
    assert torch.equal(tiles[0, 0], tiles[0, 2])
    assert torch.equal(tiles[0, 0, ::2, ::2], tiles[0, 0, 1::2, 1::2])
    assert torch.equal(tiles[[1, 4]], x)
    assert torch.equal(tiles[[2, 5]], target)
    assert torch.equal(pair_tiles(None, x, None), x)


def test_a_game_without_a_truth_is_refused_before_the_run(tmp_path) -> None:
    experiment = build(compose(["metric=[]"]))
    with pytest.raises(Mistake, match="which only games from image to image have"):
        PairGrid(100, Run(tmp_path)).before_run(experiment.game, experiment.data)
