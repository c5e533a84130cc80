"""The classification error of D as a score: its value, its weights, and that measuring changes nothing."""

import json
from functools import partial

import pytest
import torch
from runs import assert_equal, run, state
from torch import nn

from saddlepoint.callback.classification_error import ClassificationError
from saddlepoint.data.data import Data, Split
from saddlepoint.error import Mistake
from saddlepoint.evaluation.contract import Contract
from saddlepoint.game.average import Average
from saddlepoint.game.game import Game
from saddlepoint.game.player import Player
from saddlepoint.objective import minimax
from saddlepoint.prior.normal import Normal
from saddlepoint.prior.prior import Prior
from saddlepoint.turn import DiscriminatorOutput

SEMI = [
    "data.labels=3", "data.labelled_batch=20", "+layer@architecture.discriminator.readout=log_sum_exp",
    "architecture.discriminator.heads={label: 10}", "regularizer=[classification]", "+callback=classification_error",
    "callback.classification_error.images_between=640", "game.players.discriminator.weight=0.5",
    "+layer@architecture.discriminator.neck=gaussian_noise",
]  # fmt: skip


class Brightest(nn.Module):
    """Head `label` is x plus a bias, so that the predicted class is the largest coordinate."""

    def __init__(self, name="label"):
        super().__init__()
        self.name, self.noise = name, nn.Dropout(0.5)
        self.add = nn.Parameter(torch.zeros(3))

    def forward(self, x, y=None):
        return DiscriminatorOutput(x.sum(1), {"x": x}, {self.name: self.noise(x) + self.add})


class Points(Data):
    name = "points"

    def __init__(self, classes=3):
        super().__init__((3,), classes)

    def splits(self):
        x = torch.eye(3)[torch.tensor([0, 1, 2, 0, 1, 2, 0, 1])] + 0.1
        y = torch.tensor([0, 1, 2, 0, 1, 2, 1, 2]) if self.classes else None  # the last two are wrong
        return {name: Split(name, x, y, self.classes) for name in ("train", "validation", "test")}


def game(network, average=None):
    sgd = partial(torch.optim.SGD, lr=0.1)
    players = {
        "discriminator": Player(network, sgd, minimax.discriminator, average=average),
        "generator": Player(nn.Linear(2, 3), sgd, minimax.generator),
    }
    return Game(players, Prior(z=Normal(2)))


@pytest.mark.parametrize("batch", [1, 3, 100])
def test_the_error_is_the_share_of_images_whose_largest_logit_is_not_their_class(batch):
    plays = game(Brightest()).train()
    (score,) = ClassificationError(100, batch=batch).measure(plays, Points()).values()
    assert score.value == 2 / 8
    assert score.detail == {"wrong": 2, "of": 8}
    assert (
        plays.discriminator.network.noise.training
    )  # restored; and off during the measurement, or the error would be random


def test_the_averaged_weights_are_measured_if_they_exist_and_the_contract_records_it():
    plays = game(Brightest(), Average)
    plays.discriminator.average.network.add.data[1] = 9.0  # always predicts class 1, which is right three times
    (averaged,) = ClassificationError(100).measure(plays, Points()).values()
    (raw,) = ClassificationError(100, average=False).measure(plays, Points()).values()
    assert (averaged.value, raw.value) == (5 / 8, 2 / 8)
    assert (averaged.contract.weights, raw.contract.weights) == ("averaged", "raw")


def test_the_contract_has_the_split_the_head_and_the_number_of_images():
    callback = ClassificationError(100, head="digit", split="validation")
    ((key, score),) = callback.measure(game(Brightest("digit")), Points()).items()
    assert key == score.contract.score_name == "error_discriminator_8_validation"
    assert score.contract.data == Points().split("validation").sha256
    assert score.contract.settings == {"head": "digit"}


def test_the_contract_has_the_batch_size_if_the_discriminator_depends_on_the_batch():
    coupled = Brightest()
    coupled.noise.coupled = True
    results = [ClassificationError(100, batch=7).measure(game(d), Points()) for d in (Brightest(), coupled)]
    settings = [score.contract.settings for scores in results for score in scores.values()]
    assert settings == [{"head": "label"}, {"head": "label", "batch": 7}]


class Odd(nn.Module):
    """Correct for a batch of three, wrong otherwise: its output depends on the batch."""

    coupled = True

    def __init__(self):
        super().__init__()
        self.sizes = []

    def forward(self, x, y=None):
        self.sizes.append(len(x))
        return DiscriminatorOutput(x.sum(1), {}, {"label": x if len(x) == 3 else -x})


@pytest.mark.parametrize("dependent", ["coupled", "batch norm without running statistics"])
def test_a_batch_dependent_discriminator_gets_full_batches_of_its_training_size(dependent):
    network, data = Odd(), Points()
    data.batch = 3
    if dependent != "coupled":
        network.coupled, network.norm = False, nn.BatchNorm1d(3, track_running_stats=False)
    ((_, score),) = ClassificationError(100).measure(game(network), data).items()
    assert network.sizes == [3, 3, 3]  # eight images: the last batch is filled up
    assert score.value == 2 / 8
    assert score.detail == {"wrong": 2, "of": 8}
    assert score.contract.settings == {"head": "label", "batch": 3}


def test_minibatch_discrimination_is_measured_with_the_training_batch_size_in_a_run(tmp_path):
    overrides = [text for text in SEMI if "neck" not in text]
    record = run(tmp_path, *overrides, "+layer@architecture.discriminator.neck=minibatch_discrimination")
    (score,) = record.summary["discriminator"].values()
    assert score["contract"]["settings"] == {"head": "label", "batch": 64}


def test_invalid_heads_splits_and_data_are_refused():
    with pytest.raises(Mistake, match=r"head=digit: the discriminator's heads are label"):
        ClassificationError(100, head="digit").measure(game(Brightest()), Points())
    with pytest.raises(Mistake, match=r"points has no classes"):
        ClassificationError(100).measure(game(Brightest()), Points(classes=None))
    with pytest.raises(Mistake, match=r"no split 'tset'"):
        ClassificationError(100, split="tset").measure(game(Brightest()), Points())
    with pytest.raises(Mistake, match=r"split=all: this includes training images of D"):
        ClassificationError(100, split="all")


def test_a_run_logs_and_records_the_error_and_is_not_changed_by_it(tmp_path):
    record = run(tmp_path / "a", *SEMI)
    key = "error_discriminator_450_test"
    measured = {row["images"]: row[key] for row in record.rows() if key in row}
    assert list(measured) == [0, 640, 1280]
    score = record.summary["discriminator"][key]
    assert score["value"] == measured[1280]
    assert Contract(**score["contract"]).score_name == key
    rows = json.loads((record.folder / "provenance.json").read_text())["data"]["labelled"]["rows"]
    assert [len(line.split()) for line in rows.values()] == [3] * 10
    without = run(tmp_path / "b", *(text for text in SEMI if "classification_error" not in text))
    assert without.folder.parent.name == record.folder.parent.name
    assert_equal(state(record), state(without))


def test_a_run_with_labels_and_noise_equals_a_resumed_one(tmp_path):
    straight = run(tmp_path / "a", *SEMI, "images=1920")
    run(tmp_path / "b", *SEMI, "images=960")
    resumed = run(tmp_path / "b", *SEMI, "images=1920")
    assert_equal(state(straight), state(resumed))
    assert straight.summary["discriminator"] == resumed.summary["discriminator"]


def test_a_run_with_adversarial_weight_0_is_the_supervised_one_bit_for_bit(tmp_path):
    """With a generator that matches features, which evaluates the noisy D on reals and fakes in its own turn."""
    arms = {
        "half": [],
        "zero weight": ["game.players.discriminator.weight=0"],
        "no objective": ["objective.discriminator=null"],
    }
    common = [*SEMI, "regularizer=[classification,feature_matching]", "objective.generator=null"]
    results = {}
    for arm, overrides in arms.items():
        record = run(tmp_path / arm, *common, *overrides)
        results[arm] = (
            state(record),
            [row["error_discriminator_450_test"] for row in record.rows() if "error_discriminator_450_test" in row],
        )
    networks = {arm: {k: v for k, v in flat.items() if "state_dict" in k} for arm, (flat, _) in results.items()}
    assert_equal(networks["zero weight"], networks["no objective"])
    assert results["zero weight"][1] == results["no objective"][1]
    weight = next(k for k in networks["half"] if "discriminator" in k and k.endswith("weight"))
    assert not networks["half"][weight].equal(networks["no objective"][weight])


def test_a_term_on_labels_without_labels_is_refused_before_training(tmp_path):
    from runs import run

    from saddlepoint.error import Mistake

    overrides = ["architecture.discriminator.heads={label: 10}", "regularizer=[classification]"]
    with pytest.raises(Mistake, match=r"needs labelled images, and these data have none: data\.labels=10"):
        run(tmp_path, *overrides)
    record = run(tmp_path, *overrides, "data.labels=5", "+callback=classification_error", "images=640")
    assert any(key.startswith("error_discriminator_450_test") for key in record.summary["final"])


def test_a_discriminator_conditioned_on_the_class_is_refused_before_the_run(tmp_path):
    projected = ["+layer@architecture.discriminator.readout=projection", "architecture.discriminator.heads={label: 10}"]
    terms = ["regularizer=[classification]", "regularizer.discriminator.classification.sides=[real]"]
    line = "must classify images without a condition, but projection reads the condition label"
    with pytest.raises(Mistake, match=line):
        run(tmp_path, "game=conditional", *projected, *terms, "+callback=classification_error")
    assert not any(tmp_path.iterdir())
