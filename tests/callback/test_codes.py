"""The callbacks of InfoGAN: the agreement of a code with classes, the bound, and pictures of traversals."""

import math
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from PIL import Image
from torch import nn
from torchvision.transforms.functional import pil_to_tensor

from saddlepoint.callback.code_accuracy import CodeAccuracy
from saddlepoint.callback.traversal_grid import TraversalGrid
from saddlepoint.data.data import Data, Split
from saddlepoint.error import Mistake
from saddlepoint.game.game import Game
from saddlepoint.game.player import Player
from saddlepoint.objective import minimax
from saddlepoint.prior.categorical import Categorical
from saddlepoint.prior.prior import Prior
from saddlepoint.prior.uniform import Uniform
from saddlepoint.run.folder import Run
from saddlepoint.turn import DiscriminatorOutput

NAMES = torch.tensor([2, 0, 1])  # the code that Q gives to each class


class Reader(nn.Module):
    """Q reads the code from x, exactly or not at all."""

    def __init__(self, certainty: float = 50.0) -> None:
        super().__init__()
        self.certainty, self.weight, self.dropout = certainty, nn.Parameter(torch.ones(())), nn.Dropout(0.5)

    def forward(self, x, condition=None):
        x = self.dropout(x.flatten(1))
        code = self.certainty * x[:, NAMES.argsort()]
        return DiscriminatorOutput(self.weight * x.sum(1), {}, {"category": code, "style": torch.zeros(len(x), 1)})


class Writer(nn.Module):
    """x is one-hot in the class whose name is the code."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))

    def forward(self, latent, condition=None):
        x = self.weight * (2 * latent["category"][:, NAMES] - 1)
        return x.view(-1, 1, 1, 3) * (0.5 + 0.25 * latent["style"]).view(-1, 1, 1, 1)


class Bars(Data):
    """Images of 3 pixels, bright at their class; one in four test images has another class."""

    name = "bars"

    def __init__(self, classes: int | None = 3) -> None:
        super().__init__((1, 1, 3), classes)

    def splits(self) -> dict[str, Split]:
        y = torch.arange(12) % 3
        x = (255 * torch.eye(3, dtype=torch.uint8)[y]).view(-1, 1, 1, 3)
        wrong = torch.where(torch.arange(12) < 3, (y + 1) % 3, y)
        labels = {"train": y, "validation": y, "test": wrong}
        return {name: Split(name, x, label if self.classes else None, self.classes) for name, label in labels.items()}


def game(certainty: float = 50.0) -> Game:
    sgd = partial(torch.optim.SGD, lr=0.1)
    players = {
        "discriminator": Player(Reader(certainty), sgd, minimax.discriminator),
        "generator": Player(Writer(), sgd, minimax.generator),
    }
    return Game(players, Prior(category=Categorical(3), style=Uniform(1)))


def values(callback: CodeAccuracy, certainty: float = 50.0) -> dict[str, float]:
    plays = game(certainty).train()
    scores = callback.measure(plays, Bars())
    assert plays.discriminator.network.dropout.training  # restored
    return {name: score.value for name, score in scores.items()}


def test_the_map_is_fitted_on_training_images_and_the_accuracy_is_that_of_test_images() -> None:
    callback = CodeAccuracy(100, n=500)
    scores = values(callback)
    assert scores["code_accuracy_discriminator_12_test"] == 9 / 12
    assert scores["code_accuracy_majority_discriminator_12_test"] == 9 / 12
    score = callback.latest["code_accuracy_discriminator_12_test"]
    assert score.detail["map"] == NAMES.argsort().tolist()
    assert score.contract.settings == {"code": "category", "fit_splits": ["train", "validation"]}
    assert callback.final_scores(game(), Bars()) is callback.latest  # of the same images: not measured again


@pytest.mark.parametrize(("certainty", "bound"), [(50.0, math.log(3)), (0.0, 0.0)])
def test_the_bound_is_log_k_if_the_code_is_read_exactly_and_zero_if_not_at_all(certainty: float, bound: float) -> None:
    callback = CodeAccuracy(100, n=2000)
    assert values(callback, certainty)["mutual_information_discriminator_2k_test"] == pytest.approx(bound, abs=1e-5)
    nll = callback.latest["mutual_information_discriminator_2k_test"].detail["negative_log_likelihood"]
    assert nll["style"] == pytest.approx(1 / 6, rel=0.1)  # E[c^2] / 2 of c ~ U[-1, 1)


@pytest.mark.parametrize(
    ("settings", "classes", "message"),
    [
        ({"code": "categry"}, 3, "is no categorical part of the latent, category, style. Did you mean category"),
        ({"code": "style"}, 3, "style is no categorical part of the latent"),
        ({}, None, "bars has no classes"),
    ],
)
def test_a_code_or_classes_that_do_not_exist_are_refused_before_the_run(settings, classes, message) -> None:
    with pytest.raises(Mistake, match=message):
        CodeAccuracy(100, **settings).before_run(game(), Bars(classes))


def test_a_discriminator_without_the_head_is_refused_before_the_run() -> None:
    plays = Game(dict(game().players.items()), Prior(digit=Categorical(3)))
    with pytest.raises(Mistake, match="it needs a head of D with this name; the heads are category, style"):
        CodeAccuracy(100, code="digit").before_run(plays, Bars())


def test_a_map_fitted_on_the_measured_split_is_refused() -> None:
    with pytest.raises(Mistake, match="name splits other than test"):
        CodeAccuracy(100, fit_splits=["train", "test"])


def test_a_picture_has_a_row_per_latent_and_a_column_per_value_and_goes_to_the_loggers(tmp_path) -> None:
    run, plays, logged = Run(tmp_path), game(), []
    callback = TraversalGrid(100, run, ["category", "style"], rows=4, steps=5, span=[-2, 2], scale=1)
    callback.before_run(plays, Bars())
    logger = SimpleNamespace(log_image=lambda key, path, step: logged.append((key, path, step)))
    trainer = SimpleNamespace(is_global_zero=True, datamodule=Bars(), loggers=[logger, SimpleNamespace()])
    callback.on_due(trainer, plays)  # pyright: ignore[reportArgumentType]
    paths = [tmp_path / "samples" / key / "000000000.png" for key in ("category", "style")]
    assert logged == [("traversal/category", paths[0], 0), ("traversal/style", paths[1], 0)]
    category, style = (pil_to_tensor(Image.open(path).convert("L"))[0] for path in paths)
    category, style = (picture[2, 2:].unfold(0, 3, 5) for picture in (category, style))  # the first row's tiles
    assert len(category) == 3
    assert category.argmax(1).tolist() == NAMES.argsort().tolist()
    assert len(style) == 5
    brightness = style.max(1).values.tolist()
    assert brightness == sorted(set(brightness))  # the code scales the contrast, from -2 to 2


def test_a_traversal_of_an_unknown_part_is_refused_before_the_run(tmp_path) -> None:
    with pytest.raises(Mistake, match="Did you mean style"):
        TraversalGrid(100, Run(tmp_path), ["stile"]).before_run(game(), Bars())
