"""Scores of tokens: n-gram models, BLEU, exact matches, and the published NLL of the oracle."""

import math
import sys
from itertools import product

import numpy as np
import pytest
import torch
from torchmetrics.functional.text import bleu_score

from saddlepoint.data import oracle
from saddlepoint.data.data import Data, Split
from saddlepoint.data.gaussians import Gaussians
from saddlepoint.data.oracle import Oracle
from saddlepoint.error import Mistake
from saddlepoint.extractor.extractor import Features
from saddlepoint.metric.bleu import BLEU, References
from saddlepoint.metric.exact_match import ExactMatch
from saddlepoint.metric.language_model import LanguageModel
from saddlepoint.metric.ngram import NGram, token_numbers
from saddlepoint.metric.nll_oracle import NLLOracle
from saddlepoint.modality import Tokens

DRAW = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def _same_draws_in_any_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[__name__], "DRAW", np.random.default_rng(0))


class Words(Data):
    """Words of a to d, at most 5 letters; validation and test are other words."""

    name = "words"

    def __init__(self):
        self.modality = Tokens(["", *"abcd"])
        super().__init__((6, 5), None)

    def splits(self):
        sizes = {"train": 300, "validation": 100, "test": 100}
        return {name: Split(name, words(n)) for name, n in sizes.items()}


def words(n):
    x = DRAW.choice([1, 1, 1, 2, 2, 3, 4], (n, 6))
    x[np.arange(6) >= DRAW.integers(2, 6, (n, 1))] = 0
    return torch.from_numpy(x)


def scores(metric, data, x):
    assert metric.setup(data) is None
    metric.update(Features(torch.zeros(len(x), 1), x=x), real=False)
    return {suffix: float(result.value) for suffix, result in metric.results().items()}


# --------------------------------------------------------------------------------------------------------- n-grams


def test_a_bigram_with_witten_bell_interpolation_is_written_out():
    model = NGram(2, 3).fit(torch.tensor([[1, 1, 2], [1, 2, 2]]))
    # unigrams: c(1) = 3, c(2) = 3, u = 2, total 6;  after 1: c(1) = 1, c(2) = 2, u = 2, total 3
    p1 = {0: 2 / 3 / 8, 1: (3 + 2 / 3) / 8, 2: (3 + 2 / 3) / 8}
    p2 = {w: (c + 2 * p1[w]) / 5 for w, c in {0: 0, 1: 1, 2: 2}.items()}
    log_p = model.log_probabilities(torch.tensor([[1, 1, 0], [1, 2, 0]]))
    assert log_p[:, 1] == pytest.approx([math.log(p2[1]), math.log(p2[2])])
    assert log_p[0, 2] == pytest.approx(math.log(p2[0]))


def test_the_end_is_part_of_a_sequence_and_what_follows_is_not():
    x = torch.tensor([[1, 0, 2], [0, 0, 0], [1, 2, 1]])
    model = NGram(2, 3, 0).fit(x)
    assert model.counted(x.numpy()).tolist() == [[True, True, False], [True, False, False], [True, True, True]]
    assert model.log_probabilities(x)[0, 2] == 0
    assert model.nats_per_token(x) == pytest.approx(-model.log_probabilities(x).sum() / 6)


@pytest.mark.parametrize("end", [None, 0])
@pytest.mark.parametrize("order", [1, 3])
def test_an_n_gram_model_is_a_distribution_and_samples_from_it(order, end):
    model = NGram(order, 3, end).fit(torch.from_numpy(DRAW.integers(0, 3, (20, 3))))
    every = torch.tensor(list(product(range(3), repeat=3)))
    counted = model.counted(every.numpy())
    valid = (every.numpy()[~counted] == 0).all() if end is None else (np.where(counted, 0, every) == 0).all(1)
    p = np.exp(model.log_probabilities(every).sum(1)) * valid
    assert p.sum() == pytest.approx(1)
    n = 20_000
    frequency = np.bincount(model.sample(DRAW.random((n, 3))) @ [9, 3, 1], minlength=27) / n
    assert (abs(frequency - p) < 5 * np.sqrt(p * (1 - p) / n) + 1e-12).all()


# ------------------------------------------------------------------------------------------------------------ BLEU


def test_bleu_equals_that_of_torchmetrics_for_single_sentences():
    """No two references are equally near in length: torchmetrics takes the first then, Papineni et al. the shorter."""
    references = [tuple(DRAW.integers(0, 4, DRAW.choice([4, 7, 12])).tolist()) for _ in range(20)]
    fakes = [tuple(DRAW.integers(0, 4, DRAW.integers(3, 12)).tolist()) for _ in range(30)]
    table = References(references, 3)
    text = [" ".join(map(str, sentence)) for sentence in references]
    values = [table.bleu(fake) for fake in fakes]
    expected = [float(bleu_score([" ".join(map(str, fake))], [text], n_gram=3)) for fake in fakes]
    assert values == pytest.approx(expected, abs=1e-6)
    assert len(set(values)) > 5


def test_self_bleu_equals_that_of_torchmetrics_against_the_others():
    fakes = [tuple(DRAW.integers(0, 4, DRAW.integers(4, 6)).tolist()) for _ in range(12)]
    text, table = [" ".join(map(str, fake)) for fake in fakes], References(fakes, 2)
    for i, fake in enumerate(fakes):
        expected = float(bleu_score([text[i]], [text[:i] + text[i + 1 :]], n_gram=2))
        assert table.bleu(fake, other=True) == pytest.approx(expected, abs=1e-6)


def test_repeated_fakes_have_a_self_bleu_of_1_and_varied_ones_less():
    data = Words()
    x = words(400)
    x = x[x[:, 4] > 0]  # of 5 letters
    varied, repeated = (scores(BLEU(), data, rows) for rows in (x, x[:1].expand(len(x), -1)))
    assert repeated["self"] == pytest.approx(1)
    assert varied["self"] < 0.95


# --------------------------------------------------------------------------------------------------- exact matches


def test_shares_of_training_held_out_and_distinct_samples_are_counted():
    data = Words()
    train, test = data.split("train").x, data.split("test").x
    known = {row.tobytes() for row in train.numpy()}
    fresh = next(row for row in test if row.numpy().tobytes() not in known)
    x = torch.stack([train[0], train[0], fresh, torch.full((6,), 4)])
    held = {row.tobytes() for row in test.numpy()}
    both = next(
        row for row in train[1:] if row.numpy().tobytes() in held and (row != train[0]).any()
    )  # repeated lines may be in two splits
    assert scores(ExactMatch(), data, torch.cat([x, both[None]])) == {"train": 0.6, "held_out": 0.2, "distinct": 0.8}
    anchors = ExactMatch()
    anchors.setup(data)
    assert anchors._shares(x)["train"].std == pytest.approx(0.25)  # of 4 coins
    assert set(anchors.anchor_scores(50)) == {"2-gram", "3-gram", "4-gram"}


def test_the_anchors_are_fitted_to_the_training_split():
    data, metric = Words(), ExactMatch()
    data.setup()
    data.split("test").x[data.split("test").x > 0] = 4
    data.split("train").x[data.split("train").x > 0] = 1
    metric.setup(data)
    assert all(by["held_out"].value < 0.2 < by["train"].value for by in metric.anchor_scores(50).values())


def test_the_training_split_is_not_held_out():
    with pytest.raises(Mistake, match="not trained on"):
        ExactMatch(split="train")


# -------------------------------------------------------------------------------------------------- language model


def test_anchors_have_as_many_samples_as_there_are_fakes_or_say_how_many():
    data, metric = Words(), LanguageModel(order=2)
    metric.setup(data)
    assert {name: by[""].n for name, by in metric.anchor_scores(200).items()} == {"real": 100, "training samples": 200}
    metric = BLEU(order=1)
    metric.setup(data)
    few = metric._scores(data.split("train").x[:20])
    assert metric.anchor_scores(20) == {"training samples": few}
    assert metric._scores(data.split("train").x)["self"] != few["self"]


@pytest.mark.parametrize("settings", [{"order": 0}, {"number": 1}])
def test_bleu_that_cannot_be_computed_is_refused(settings):
    with pytest.raises(Mistake, match=r"metric\.bleu"):
        BLEU(**settings)
    metric = BLEU()
    metric.setup(Words())
    assert "two at least" in (metric.why_not(100, 1) or "")


def test_the_padding_of_any_vocabulary_ends_a_sample():
    data = Words()
    data.modality = Tokens([*"abcd", ""])
    assert token_numbers(data) == ((5, 4), None)
    data.modality = Tokens([*"abcd"])
    assert token_numbers(data) == ((4, None), None)


def test_a_repeated_sample_is_likely_but_a_model_of_it_is_bad():
    data, metric = Words(), LanguageModel(order=2)
    real = scores(metric, data, data.split("test").x)
    model = NGram(2, 5, 0).fit(data.split("validation").x)
    best = min(data.split("train").x, key=lambda row: model.nats_per_token(row[None]))
    collapsed = scores(metric, data, best.expand(100, -1))
    noise = scores(metric, data, torch.from_numpy(DRAW.integers(0, 5, (100, 6))))
    assert collapsed[""] < real[""] < noise[""]
    assert real["reverse"] < min(noise["reverse"], collapsed["reverse"])


@pytest.mark.parametrize("metric", [BLEU(), ExactMatch(), LanguageModel(), NLLOracle()])
def test_other_data_than_tokens_are_refused_in_one_line(metric):
    reason = metric.setup(Gaussians(number=10))
    assert reason
    assert "\n" not in reason
    assert metric.why_not(10, 10)


# --------------------------------------------------------------------------------------------------- nll of the oracle


def test_the_published_score_of_one_repeated_sequence_is_better_than_that_of_the_truth(monkeypatch):
    monkeypatch.setattr(oracle, "HELD_OUT", 500)
    data, metric = Oracle(number=1_000), NLLOracle()  # V = 200
    truth = scores(metric, data, data.split("test").x)[""]
    collapsed = metric.anchor_scores(100)["one sequence repeated"]
    assert truth == pytest.approx(3.18, abs=0.05)
    assert float(collapsed.value) < 0.7 * truth
    assert float(collapsed.std) == pytest.approx(0, abs=1e-9)
    nll = -data.log_likelihood(data.split("test").x) / 20
    assert float(metric.results()[""].std) == pytest.approx(float(nll.std()) / 500**0.5, rel=0.01)
