"""The KL divergences of a generator of tokens: exact by enumeration, 0 for the oracle itself, unmoved by collapse."""

from functools import partial
from itertools import product
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.nn.functional import one_hot

from saddlepoint.architecture.recurrent import Generator
from saddlepoint.callback.likelihood import Likelihood
from saddlepoint.data import oracle
from saddlepoint.data.oracle import Oracle
from saddlepoint.error import Mistake
from saddlepoint.game.average import Average
from saddlepoint.game.game import Game
from saddlepoint.game.player import Player
from saddlepoint.metric.nll_oracle import NLLOracle
from saddlepoint.prior.gumbel import Gumbel
from saddlepoint.prior.prior import Prior
from saddlepoint.regularizer.negative_log_likelihood import NegativeLogLikelihood
from saddlepoint.run.folder import Run

SIDES = {"likelihood": {"of": "x", "by": "generator"}, "fake": {"by": "generator"}}


@pytest.fixture(autouse=True)
def _few(monkeypatch):
    monkeypatch.setattr(oracle, "HELD_OUT", 4_000)


def game_of(network, shape):
    terms = {"nll": NegativeLogLikelihood()}
    player = Player(network, partial(torch.optim.SGD, lr=0.1), None, terms)
    return Game({"generator": player}, Prior(noise=Gumbel(shape)), sides=SIDES)


def small(**settings):
    return Oracle(**{"symbols": 3, "length": 3, "shape": (3, 3), "number": 100, **settings})


def values(network, data, n=4_000, **settings):
    callback = Likelihood(1, n=n, **settings)
    game = game_of(network, data.shape)
    callback.before_run(game, data)
    return {score.contract.metric: score for score in callback.final_scores(game, data).values()}


def test_the_oracle_itself_has_divergences_of_0_without_an_error():
    data = small()
    network = Generator((3, 3), 32, 32)
    network.network.load_state_dict(data.network.state_dict())
    scores = values(network, data)
    for name in ("forward_kl", "reverse_kl"):
        assert scores[name].value == pytest.approx(0, abs=1e-6)
        assert scores[name].std == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_divergences_are_those_of_all_sequences(temperature):
    data = small()
    torch.manual_seed(0)
    network = Generator((3, 3), 4, 8, temperature=temperature)
    every = torch.tensor(list(product(range(3), repeat=3)))
    log_o = data.log_likelihood(every)
    with torch.no_grad():
        log_g = network(one_hot(every, 3).float())[1].sum(1).double()
    expected = {
        "forward_kl": (log_o.exp() * (log_o - log_g)).sum() / 3,
        "reverse_kl": (log_g.exp() * (log_g - log_o)).sum() / 3,
        "nll": -(log_o.exp() * log_g).sum() / 3,
    }
    scores = values(network, data)
    for name, value in expected.items():
        assert abs(scores[name].value - value.item()) < 5 * scores[name].std, name
        assert scores[name].std > 0


class Collapsed(nn.Module):
    """One sequence with probability 1 - e per token, the other symbols alike."""

    def __init__(self, tokens, symbols, e=1e-3):
        super().__init__()
        p = torch.full((len(tokens), symbols), e / (symbols - 1)).scatter_(1, tokens[:, None], 1 - e)
        self.logits = nn.Parameter(p.log())

    def forward(self, latent, condition=None):
        x = latent
        if not isinstance(latent, torch.Tensor):
            noise = latent["noise"].unflatten(1, self.logits.shape)
            x = one_hot((self.logits + noise).argmax(-1), self.logits.shape[1]).float()
        return x, (x * self.logits).sum(-1)


def test_a_collapsed_generator_beats_the_truth_in_the_published_score_but_in_neither_divergence(monkeypatch):
    monkeypatch.setattr(oracle, "HELD_OUT", 500)
    data = Oracle(number=1_000)  # V = 200, T = 20
    metric = NLLOracle()
    metric.setup(data)
    entropy = float(metric._score(data.split("test").x).value)
    train = data.split("train").x
    best = train[data.log_likelihood(train).argmax()]
    assert float(metric._score(best.expand(100, -1)).value) < 0.7 * entropy, "the published score prefers it"
    scores = values(Collapsed(best, 200), data, n=100)
    assert scores["reverse_kl"].value > 1, "a perfect generator has 0"
    assert scores["forward_kl"].value > 5
    assert scores["nll"].value - scores["forward_kl"].value == pytest.approx(entropy, abs=1e-6)


def test_the_curve_over_temperatures_is_drawn_and_contains_the_score(tmp_path):
    data, network = small(), Generator((3, 3), 4, 8)
    run = Run(tmp_path)
    scores = values(network, data, n=500, temperatures=(0.5, 1.0), run=run)
    curve = scores["nll"].detail["curve"]
    assert curve["1.0"]["reverse_kl"] == pytest.approx(scores["reverse_kl"].value)
    network.temperature = 0.5
    assert curve["0.5"]["forward_kl"] == pytest.approx(values(network, data, n=500)["forward_kl"].value)
    network.temperature = 1.0
    assert curve["0.5"]["forward_kl"] != pytest.approx(curve["1.0"]["forward_kl"], abs=1e-3)
    assert (tmp_path / "samples" / "temperature.png").is_file()


def test_averaged_weights_are_measured_if_there_is_an_average():
    data, network = small(), Generator((3, 3), 4, 8)
    game = game_of(network, data.shape)
    game.player("generator").average = Average(network)
    raw = values(network, data)["nll"]
    network.network.linear.bias.data[0] += 1.0
    score = next(score for score in Likelihood(1).measure(game, data).values() if score.contract.metric == "nll")
    assert (score.value, score.contract.weights) == (pytest.approx(raw.value), "averaged")
    assert raw.contract.weights == "raw"
    assert values(network, data)["nll"].value != pytest.approx(raw.value, rel=0.01)


def test_text_is_measured_per_token_up_to_the_end():
    words = SimpleNamespace(x=torch.tensor([[1, 2, 0, 0], [2, 0, 0, 0]]))
    from saddlepoint.data.data import Data, Split
    from saddlepoint.modality import Tokens

    class Words(Data):
        name, modality = "words", Tokens(["", "a", "b"])

        def splits(self):
            return {name: Split(name, words.x) for name in ("train", "validation", "test")}

    torch.manual_seed(0)
    network = Generator((4, 3), 4, 8, end=0)
    scores = values(network, Words((4, 3), None))
    with torch.no_grad():
        log_p = network(one_hot(words.x, 3).float())[1]
    assert (log_p[0, 3], log_p[1, 2]) == (0, 0)
    assert list(scores) == ["nll"]
    assert scores["nll"].value == pytest.approx(-log_p.sum().item() / 5, rel=1e-6)
    residual = -log_p.sum(1) - scores["nll"].value * torch.tensor([3, 2])
    assert scores["nll"].std == pytest.approx(residual.square().mean().sqrt().item() / 2.5 / 2**0.5, rel=1e-5)


class Silent(nn.Module):
    """Returns no log-probabilities."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(3, 3))

    def forward(self, latent, condition=None):
        return torch.zeros(2, 3, 3) + self.weight


def test_a_generator_without_log_probabilities_is_refused_before_the_run():
    with pytest.raises(Mistake, match="architecture=recurrent"):
        values(Silent(), small())
    with pytest.raises(Mistake, match="temperatures"):
        Likelihood(1, temperatures=(0.0,))


def test_an_end_that_does_not_end_the_data_is_refused_before_the_run():
    with pytest.raises(Mistake, match=r"end=1: samples of the data go on after this symbol"):
        values(Generator((3, 3), 4, 8, end=1), small())
