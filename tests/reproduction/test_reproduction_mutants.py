"""Ten faults, and the verdict of `reproduce` on each: none is MET.

Seven break the code that trains or measures, three the rules of reproduction. The baselines are tiny; their tolerances
were set on unbroken runs of other seeds.
"""

import json
from contextlib import nullcontext

import pytest
import torch
from baselines import DIGITS, TOY, Home

from saddlepoint.callback import classification_error
from saddlepoint.data.data import Data
from saddlepoint.game.average import Average
from saddlepoint.game.game import Game
from saddlepoint.objective import wasserstein
from saddlepoint.regularizer.classification import Classification
from saddlepoint.regularizer.historical_averaging import HistoricalAveraging
from saddlepoint.turn import Sample


@pytest.fixture
def home(tmp_path, monkeypatch):
    return Home(tmp_path, monkeypatch)


def missing_detach(monkeypatch):
    """The gradient of a loss also reaches the other player's weights; in simultaneous play the two cancel."""
    monkeypatch.setattr(
        Game, "accumulate_gradient", lambda self, loss, inputs, retain_graph: loss.backward(retain_graph=retain_graph)
    )


def wrong_sign(monkeypatch):
    """G ascends its loss."""

    def ascending(fake):
        return fake.mean()

    # the name of the function it replaces, which a config may build
    ascending.__module__, ascending.__qualname__ = wasserstein.__name__, "generator"
    monkeypatch.setattr(wasserstein, "generator", ascending)


def tenfold_penalty(monkeypatch):
    forward = HistoricalAveraging.forward
    monkeypatch.setattr(HistoricalAveraging, "forward", lambda self, turn: 10 * forward(self, turn))


def swapped_labels(monkeypatch):
    """Each labelled image is trained as the next class."""
    side_loss = Classification.side_loss

    def wrong(self, sample, side):
        return side_loss(self, Sample(sample.x, {"label": (sample.condition["label"] + 1) % 10}, sample.judge), side)

    monkeypatch.setattr(Classification, "side_loss", wrong)


def evaluation_in_train_mode(monkeypatch):
    """D's noise stays on while its error is measured."""
    monkeypatch.setattr(classification_error, "in_mode", lambda network: nullcontext(network.train()))


def stale_average(monkeypatch):
    """The averaged weights are never updated."""
    monkeypatch.setattr(Average, "update", lambda self, network, images: None)


def leaked_test_labels(monkeypatch):
    """The labelled images are those of the test split."""
    split, labelled_batches = Data.split, Data._labelled_batches

    def leaking(self, start, rank, world_size):
        data = type(self).__new__(type(self))
        data.__dict__.update(self.__dict__)
        data.split = lambda name: split(self, "test")
        data.__dict__["labelled_indices"] = torch.arange(len(split(self, "test")))
        return labelled_batches(data, start, rank, world_size)

    monkeypatch.setattr(Data, "_labelled_batches", leaking)


BROKEN = {
    "missing detach": ("toy", TOY, missing_detach, "lies outside"),
    "wrong sign": ("toy", TOY, wrong_sign, "diverged"),
    "penalty times 10": ("toy", TOY, tenfold_penalty, "lies outside"),
    "swapped labels": ("digits", DIGITS, swapped_labels, "lies outside"),
    "evaluation in train mode": ("digits", DIGITS, evaluation_in_train_mode, "lies outside"),
    "stale average": ("digits", DIGITS, stale_average, "lies outside"),
    "test labels leaked": ("digits", DIGITS, leaked_test_labels, "too good"),
}


@pytest.mark.parametrize(("name", "baseline"), [("toy", TOY), ("digits", DIGITS)])
def test_unbroken_code_meets_the_baseline(home, name, baseline):
    home.write(name, baseline)
    assert home.reproduce(name) == 0
    assert json.loads(home.certificate(name).read_text())["verdict"] == "MET"


@pytest.mark.parametrize("mutant", BROKEN)
def test_broken_code_does_not_meet_the_baseline(home, monkeypatch, mutant):
    name, baseline, breaks, reason = BROKEN[mutant]
    home.write(name, baseline)
    breaks(monkeypatch)
    assert home.reproduce(name) == 1
    (headline,) = json.loads(home.certificate(name).read_text())["headlines"]
    print(mutant, headline["verdict"], headline["why"])
    assert headline["verdict"] == "NOT MET"
    assert reason in headline["why"]


def test_an_unlisted_seed_is_refused(home, capsys):
    home.write("toy", TOY)
    assert home.reproduce("toy", "seed=7") == 1
    assert home.reproduce("toy", "seeds=[0,7]") == 1
    assert "lists its seeds, exactly 0; no others count" in capsys.readouterr().err
    assert not home.outputs.exists()


def test_a_dirty_tree_is_refused(home, capsys):
    home.write("toy", TOY)
    (home.folder / "edit.py").write_text("x = 1\n")
    assert home.reproduce("toy") == 1
    message = capsys.readouterr().err
    assert "the tree is not clean" in message
    assert "edit.py" in message
    assert not home.outputs.exists()


def test_an_edited_baseline_is_refused(home, capsys):
    path = home.write("toy", TOY)
    path.write_text(path.read_text().replace("most: 0.1", "most: 0.9"))
    assert home.reproduce("toy") == 1
    assert "toy.yaml is edited" in capsys.readouterr().err
    assert not home.outputs.exists()
