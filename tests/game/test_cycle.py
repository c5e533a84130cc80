"""CycleGAN: its two orders of play equal loops written by hand; domains, directions, and data that are refused."""

from __future__ import annotations

import copy
from functools import cache
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from PIL import Image
from play import fit
from torch import nn
from torchvision.transforms.functional import pil_to_tensor

from saddlepoint.callback.health import Health
from saddlepoint.callback.health_probe import HealthProbe
from saddlepoint.callback.pair_grid import PairGrid
from saddlepoint.callback.reconstruction_error import ReconstructionError
from saddlepoint.config.compose import compose
from saddlepoint.data.data import Data, Split
from saddlepoint.error import Mistake
from saddlepoint.experiment.build import build, check_terms_and_makers
from saddlepoint.game.pairs import draw_pair, has_pairs, sampled_side, translated_sides, truth_column
from saddlepoint.layer.pool import Pool
from saddlepoint.run.folder import Run
from saddlepoint.stream import Stream

CYCLE = [
    "objective=least_squares", "regularizer=[cycle_consistency,identity]", "architecture=resnet_translator",
    "architecture.generator.condition={source: 1}", "architecture.generator.width=2", "architecture.generator.blocks=1",
    "architecture.generator.norm=null", "architecture.discriminator.norm=null", "architecture.discriminator.width=2",
    "game.players.generator.weight=2", "game.players.reverse_generator.weight=2", "metric=[]", "batch=4", "cache=null",
    "optimizer=sgd", "optimizer.generator.lr=0.01", "optimizer.discriminator.lr=0.02", "game.makers.pool.size=6",
    "game.makers.reverse_pool.size=6", "data={_target_: test_cycle.Domains, shape: [1,16,16], classes: 10, "
    "extractor: null, paired: false, channels: 1, batch: 4, seed: 0}",
    "allow_target=[test_cycle]",
]  # fmt: skip
GENERATORS = ("generator", "reverse_generator")


class Domains(Data):
    """Random images with one source each; the images of two domains if they are not paired."""

    name = "domains"

    def __init__(
        self, shape: Any, classes: int, extractor: Any = None, paired: bool = False, channels: int = 1, rows: Any = 20,
        **rest: Any,
    ) -> None:  # fmt: skip
        super().__init__(shape, classes, extractor, **rest)
        self.paired, self.channels, self.rows = paired, channels, rows  # held-out rows of x

    def splits(self) -> dict[str, Split]:
        generator = torch.Generator().manual_seed(0)
        x = torch.randint(0, 256, (20, 1 + self.channels, 16, 16), dtype=torch.uint8, generator=generator)
        columns = {"source": x[:, 1:].contiguous(), "source_y": torch.arange(20) % 3}
        y = torch.arange(20) % 10
        n = {"train": 20, "validation": self.rows, "test": self.rows}
        return {
            name: Split(name, x[:k, :1].contiguous(), y[:k], 10, columns, paired=self.paired) for name, k in n.items()
        }


@cache
def build_cycle(*overrides: str, game: str = "cycle") -> Any:
    return build(compose([f"game={game}", *CYCLE, *overrides]))


def losses(
    n: dict[str, nn.Module], a: torch.Tensor, b: torch.Tensor, pools: dict[str, Pool]
) -> dict[str, torch.Tensor]:
    """The losses of the paper, with a = source and b = x; generators: eq. 3, least squares, identity."""
    g, f, d_b, d_a = (n[name] for name in (*GENERATORS, "discriminator", "reverse_discriminator"))
    fake_b, fake_a = g(a, {}), f(b, {})
    total = (d_b(fake_b, {}).logits - 1).square().mean() + (d_a(fake_a, {}).logits - 1).square().mean()
    total = total + 10 * (f(fake_b, {}) - a).abs().mean() + 10 * (g(fake_a, {}) - b).abs().mean()
    total = total + 5 * (g(b, {}) - b).abs().mean() + 5 * (f(a, {}) - a).abs().mean()
    judged = {}
    for name, d, real, fake in (("discriminator", d_b, b, fake_b), ("reverse_discriminator", d_a, a, fake_a)):
        if name in pools:
            old = pools[name](fake)
            judged[name] = ((d(real, {}).logits - 1).square().mean() + d(old, {}).logits.square().mean()) / 2
    return {"generator": total, "reverse_generator": total, **judged}


def step(networks: Any, values: Any, names: Any) -> None:
    """One step of gradient descent of the named players, from their own losses."""
    gradients = {
        name: torch.autograd.grad(values[name], list(networks[name].parameters()), retain_graph=True) for name in names
    }
    with torch.no_grad():
        for name in names:
            for p, gradient in zip(networks[name].parameters(), gradients[name], strict=True):
                p -= (0.01 if name in GENERATORS else 0.02) * gradient


@pytest.mark.parametrize("game", ["cycle", "cycle_in_turn"])
def test_the_two_orders_of_play_are_those_of_the_authors_codes(game: str) -> None:
    experiment = copy.deepcopy(build_cycle(game=game))
    networks = {name: copy.deepcopy(player.network) for name, player in experiment.game.players.items()}
    pools = {"discriminator": Pool(6, 0), "reverse_discriminator": Pool(6, 1)}
    stream = experiment.data.training_batches()
    batches = [next(stream) for _ in range(4)]
    fit(experiment.game, batches)
    for batch in batches:
        a, b = batch.extra_columns["source"], batch.x
        if game == "cycle":  # gradients of all at the same weights: fakes before the step, D before its own
            step(networks, losses(networks, a, b, pools), networks)
        else:  # one after the other, each on new fakes
            for name in ("generator", "discriminator", "reverse_generator", "reverse_discriminator"):
                own_pool = {name: pools[name]} if name in pools else {}
                step(networks, losses(networks, a, b, own_pool), [name])
    for name, network in networks.items():
        for p, expected in zip(experiment.game.player(name).network.parameters(), network.parameters(), strict=True):
            torch.testing.assert_close(p, expected, rtol=1e-4, atol=1e-6, msg=name)


def test_both_directions_are_drawn_with_their_inputs() -> None:
    experiment = build_cycle()
    game, split = experiment.game, experiment.data.split("validation")
    assert translated_sides(game) == ["fake", "reverse_fake"]
    assert (game.samples, truth_column(game)) == ("fake", "x")
    condition, pair = draw_pair(game, 5, Stream(0, "a"))
    assert pair.target is None
    assert torch.equal(pair.source, split.batch_at(torch.arange(5)).extra_columns["source"])
    assert torch.equal(pair.y, split.extra_columns["source_y"][:5])  # of the inputs, not of row i of x
    network = game.player("generator").average.network
    torch.testing.assert_close(game.sample(5, condition), network(pair.source, {}))
    with sampled_side(game, "reverse_fake"):
        assert truth_column(game) == "source"
        condition, pair = draw_pair(game, 5, Stream(0, "a"))
        assert torch.equal(pair.source, split.batch_at(torch.arange(5)).x)
        assert torch.equal(pair.y, split.y[:5])
        torch.testing.assert_close(
            game.sample(5, condition), game.player("reverse_generator").average.network(pair.source, {})
        )
    assert game.samples == "fake"


def test_each_domain_starts_over_after_its_own_last_row_and_repeated_inputs_are_not_counted() -> None:
    experiment = build_cycle("+data.rows=3", "metric=[frechet_distance]", "evaluation.extractor=identity")
    game, data = experiment.game, experiment.data
    _, pair = draw_pair(game, 25, Stream(0, "a"))
    source = data.split("validation").batch_at(torch.arange(20)).extra_columns["source"]
    assert torch.equal(pair.source, source[torch.arange(25) % 20])  # all 20 sources beside 3 images of x
    with sampled_side(game, "reverse_fake"):
        _, pair = draw_pair(game, 7, Stream(0, "a"))
    x = data.split("validation").batch_at(torch.arange(3)).x
    assert torch.equal(pair.source, x[torch.arange(7) % 3])
    scores = ReconstructionError(1, {"cycle": "source", "reverse_cycle": "x"}).measure(game, data)
    assert {score.contract.metric: score.contract.n_fake for score in scores.values()} == {
        "cycle_mae": 20, "cycle_mse": 20, "reverse_cycle_mae": 3, "reverse_cycle_mse": 3}  # fmt: skip
    networks = {name: game.player(name).average.network.eval() for name in GENERATORS}
    with torch.no_grad():
        gap = networks["generator"](networks["reverse_generator"](x, {}), {}) - x
    value = next(score.value for score in scores.values() if score.contract.metric == "reverse_cycle_mae")
    assert value == pytest.approx(gap.abs().mean().item(), rel=1e-5)
    assert {score.contract.weights for score in scores.values()} == {"averaged"}  # no D is measured


@pytest.mark.parametrize(("rows", "n"), [(3, 6), (20, 20)])
def test_by_default_as_many_samples_are_measured_as_there_are_different_inputs(rows: int, n: int) -> None:
    experiment = build_cycle(f"+data.rows={rows}", "metric=[frechet_distance]", "evaluation.extractor=identity")
    assert experiment.evaluator is not None
    assert experiment.evaluator.sample_count(experiment.data) == n  # validation and test, or the 20 sources


def test_pairs_of_held_out_rows_have_a_truth_in_both_directions() -> None:
    game = build_cycle("data.paired=true").game
    rows = game.conditions.load_dataset().split("validation").batch_at(torch.arange(5))
    assert has_pairs(game)
    assert torch.equal(draw_pair(game, 5, Stream(0, "a"))[1].target, rows.x)
    with sampled_side(game, "reverse_fake"):
        assert torch.equal(draw_pair(game, 5, Stream(0, "a"))[1].target, rows.extra_columns["source"])


def test_paired_data_are_stated_once_and_unpaired_ones_are_not() -> None:
    lines = check_terms_and_makers(build_cycle("data.paired=true").game)
    assert sum("a cycle does not use which belong together" in line for line in lines) == 1
    assert not any("cycle" in line for line in check_terms_and_makers(build_cycle().game))


@pytest.mark.parametrize(("paired", "side", "n"), [("false", "fake", 1), ("true", "fake", 0), ("false", "cycle", 0)])
def test_a_distance_between_the_domains_of_unpaired_data_is_reported(paired: str, side: str, n: int) -> None:
    target = {"fake": "real", "cycle": "source"}[side]  # a cycle returns to its own row
    game = build_cycle(f"data.paired={paired}", "regularizer=[reconstruction]",
                       f"regularizer.generator.reconstruction.side={side}",
                       f"regularizer.generator.reconstruction.target={target}").game  # fmt: skip
    lines = check_terms_and_makers(game)
    assert sum("fake is compared with real at random: these data have no pairs" in line for line in lines) == n


def test_domains_of_different_channels_are_refused() -> None:
    with pytest.raises(
        Mistake, match=r"source is \[3, 16, 16\] and x is \[1, 16, 16\]: both domains of a cycle need one"
    ):
        build_cycle("data.channels=3")


def test_scores_of_the_other_direction_are_refused() -> None:
    with pytest.raises(Mistake, match=r"game\.samples=reverse_fake: scores compare samples with x.*like source"):
        build_cycle("game.samples=reverse_fake", "metric=[frechet_distance]", "evaluation.extractor=identity")


def test_health_has_readings_of_both_directions_and_an_alarm_for_inverted_colours(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    experiment = copy.deepcopy(build_cycle())
    game, data = experiment.game, experiment.data

    class Negative(nn.Module):
        def forward(self, x: Any, condition: Any) -> Any:
            return -x

    probe = HealthProbe(data, 8, "validation", print)
    before = probe.readings(game)
    assert {"diversity", "reverse_fake/diversity", "reverse_fake/real_over_fake", "generator_signal"} <= {*before}
    game.player("reverse_generator").network = Negative()
    readings = probe.readings(game)
    assert readings["reverse_fake/input_correlation"] == pytest.approx(-1)
    assert abs(readings["input_correlation"]) < 0.9
    health = Health(1, 8, stop=["inversion"])
    events: list[Any] = []
    monkeypatch.setattr(health, "record_event", lambda trainer, event: events.append(event))
    health._probe = probe
    trainer: Any = SimpleNamespace(loggers=[], should_stop=False)
    for _ in range(2):
        health.on_due(trainer, game)
    assert [event["rule"] for event in events if "inversion" in event["rule"]] == ["reverse_fake/inversion"]
    assert trainer.should_stop
    copied = Health(1, 8)
    copied.load_state_dict(health.state_dict())
    assert copied.state_dict() == health.state_dict()


def test_pictures_show_both_directions(tmp_path: Any) -> None:
    experiment = build_cycle()
    callback = PairGrid(100, Run(tmp_path), rows=2, columns=1, scale=1)
    trainer: Any = SimpleNamespace(is_global_zero=True, datamodule=experiment.data, loggers=[])
    callback.on_due(trainer, experiment.game)
    split = experiment.data.split("validation")
    for path, column in (("000000000.png", split.extra_columns["source"]), ("reverse_fake/000000000.png", split.x)):
        picture = pil_to_tensor(Image.open(tmp_path / "samples" / "pairs" / path).convert("L"))[0]
        assert picture.shape == (2 + 2 * 18, 2 + 2 * 18)  # input and sample, no truth
        assert torch.equal(picture[2:18, 2:18], column[0, 0])
