"""DP-SGD in the game: sensitivity, noise, agreement with the plain game, resuming, and what is refused."""

import json
import math
import shutil
from functools import partial
from types import SimpleNamespace

import play
import pytest
import torch
from resumed import checkpoint_content, train_run
from scipy.stats import kstest
from torch import Tensor, nn

from saddlepoint.data.data import Split
from saddlepoint.error import Mistake
from saddlepoint.game.player import Player
from saddlepoint.game.private import Private
from saddlepoint.layer.spectral_norm import SpectralNorm
from saddlepoint.objective import hinge, nonsaturating, relativistic, relativistic_average
from saddlepoint.prior.normal import Normal
from saddlepoint.prior.prior import Prior
from saddlepoint.regularizer.feature_matching import FeatureMatching
from saddlepoint.regularizer.lecam import LeCam
from saddlepoint.regularizer.r1 import R1
from saddlepoint.regularizer.r2 import R2
from saddlepoint.turn import Batch, DiscriminatorOutput

N = 12
MEASURED = {"noise": 0.0, "clip": math.inf}


class ByClass(nn.Module):
    """A critic or generator whose output depends on x, or z, and on the class."""

    def __init__(self, size: int, out: int) -> None:
        super().__init__()
        self.first, self.label, self.last = nn.Linear(size, 6), nn.Embedding(3, 6), nn.Linear(6, out)

    def forward(self, x, condition):
        judges = isinstance(x, Tensor)
        output = self.last((self.first(x if judges else x["z"]) + self.label(condition["label"])).tanh())
        return DiscriminatorOutput(output.flatten()) if judges else output


class Points:
    """A data set of N points in the plane, with classes."""

    name, shape, batch = "points", (2,), N

    def __init__(self, n: int = N) -> None:
        draw = torch.Generator().manual_seed(5)
        self.x, self.y = torch.randn(n, 2, generator=draw), torch.randint(3, (n,), generator=draw)

    def split(self, name: str) -> Split:
        return Split(name, self.x, self.y, 3)

    def batch_at(self, split: str, index: Tensor) -> Batch:
        return Batch(self.x[index], self.y[index])

    def first_batch(self, n: int) -> Batch:
        return self.batch_at("train", torch.arange(n))


def private_game(objective=nonsaturating, nets=None, by_class=False, d=None, data=None, images=N, prepare=True, **more):
    torch.manual_seed(0)
    if by_class:
        nets = ByClass(3, 2), ByClass(2, 1)
        more |= {"sides": play.BY_CLASS, "conditions": "labels", "classes": {"y": 3}}
    generator, critic = nets or play.networks()
    sgd = partial(torch.optim.SGD, lr=0.1)
    players = {
        "discriminator": Player(critic, sgd, objective.discriminator, **(d or {})),
        "generator": Player(generator, sgd, objective.generator, **more.pop("g", {})),
    }
    game = Private(players, Prior(z=Normal(3)), **{"batch": N, **MEASURED, **more})
    if prepare:
        game.prepare(data or Points(), images)
    return game


def gradients(game, batch: Batch) -> dict[str, Tensor]:
    """The gradients of D and G before their steps, as vectors by player, in a round on this batch."""
    by_player = {}

    class Observer:
        def before_turn(self, game, names, batch):
            pass

        def before_step(self, game, names):
            for name in names:
                by_player[name] = torch.cat([p.grad.flatten() for p in game.trainable_parameters(name)])

    game.observers.append(Observer())
    play.fit(game, [batch])
    return by_player


def rows(data: Points, *index: int) -> Batch:
    return data.batch_at("train", torch.tensor(index, dtype=torch.int64))


def test_without_noise_and_clip_a_step_on_all_images_equals_the_plain_step() -> None:
    data = Points()
    torch.manual_seed(0)
    plain = play.game(nonsaturating, nets=play.networks())
    play.fit(plain, [data.first_batch(N)] * 3)
    private = private_game()
    play.fit(private, [data.first_batch(N)] * 3)
    assert (private.images, private.rounds) == (plain.images, plain.rounds)
    for (name, ours), (_, expected) in zip(private.named_parameters(), plain.named_parameters(), strict=True):
        torch.testing.assert_close(ours, expected, atol=1e-6, rtol=1e-6, msg=name)


@pytest.mark.parametrize("by_class", [False, True])
def test_removing_one_image_changes_the_gradient_of_d_by_at_most_the_clip_and_no_other(by_class: bool) -> None:
    data, clip = Points(), 0.05
    data.x[3] *= 1e4
    play_round = partial(gradients, batch=rows(data, 0, 3, 5, 7))
    simultaneous = [["discriminator", "generator"]]  # so that G's gradient does not see D's step
    make = partial(private_game, by_class=by_class, clip=clip, order=simultaneous)
    whole = play_round(make())
    for without in ((3, 5, 7), (0, 5, 7), (0, 3, 5)):
        rest = gradients(make(), rows(data, *without))
        change = N * (whole["discriminator"] - rest["discriminator"]).norm().item()
        assert 0 < change <= clip * (1 + 1e-3)
        assert rest["generator"].equal(whole["generator"])


def test_apart_from_the_clipped_sum_no_gradient_depends_on_the_batch_its_size_or_its_labels() -> None:
    data, simultaneous = Points(), [["discriminator", "generator"]]
    other = Batch(torch.randn(5, 2), torch.zeros(5, dtype=torch.int64))
    make = partial(private_game, by_class=True, order=simultaneous, clip=1e-12)
    results = [gradients(make(), batch) for batch in (rows(data), rows(data, *range(9)), other)]
    for name in ("discriminator", "generator"):
        for result in results[1:]:
            torch.testing.assert_close(result[name], results[0][name], atol=1e-9, rtol=0)


def test_the_noise_is_normal_with_the_standard_deviation_of_noise_times_clip() -> None:
    sigma, clip, none, draws = 1.5, 0.2, rows(Points()), []
    quiet, noisy = (
        gradients(private_game(noise=s, clip=clip, delta=1e-3), none)["discriminator"] for s in (0.0, sigma)
    )
    game = private_game(noise=sigma, clip=clip, delta=1e-3)
    play.fit(game, [none])
    for _ in range(100):
        game.clear_gradients("discriminator")
        game._add_private_gradient(none)
        draws.append(torch.cat([p.grad.flatten() for p in game.trainable_parameters("discriminator")]))
    values = N * torch.cat([noisy - quiet, *draws]) / (sigma * clip)
    assert len(values) == 101 * 33
    assert kstest(values.numpy(), "norm").pvalue > 1e-3
    assert abs(values.var().item() - 1) < 0.1


def test_the_batches_are_poisson_samples_by_the_number_of_the_round() -> None:
    data = Points(400)
    game = private_game(data=data, batch=20, noise=1.0, clip=1.0, delta=1e-4, images=100)
    batches = game.training_batches(data, 0, 1)
    sizes = [len(next(batches)) for _ in range(300)]
    assert abs(sum(sizes) / 300 - 20) < 1
    assert len(set(sizes)) > 5
    game.rounds = 7
    resumed = [len(batch) for batch, _ in zip(game.training_batches(data, 0, 1), range(20), strict=False)]
    assert resumed == sizes[7:27]


def test_progress_counts_the_expected_images_and_steps_of_d_count() -> None:
    game = private_game(noise=1.0, clip=1.0, delta=1e-3, d={"every": 2}, images=4 * N)
    play.fit(game, [rows(Points(), *range(size)) for size in (0, 1, 5, 12)])
    assert (game.images, game.rounds, game.steps) == (4 * N, 4, 2)
    facts = game.summary_facts()["privacy"]
    assert facts["steps"] == 2
    assert facts["epsilon"] == game.guarantee.epsilon(2) > game.guarantee.epsilon(1)


def test_the_logged_loss_is_that_of_the_sampled_images_and_their_share_above_the_clip() -> None:
    game = private_game(clip=0.6)
    before = [p.detach().clone() for p in game.discriminator.network.parameters()]
    batch = rows(Points(), 0, 4, 9)
    play.fit(game, [batch])
    for parameter, value in zip(game.discriminator.network.parameters(), before, strict=True):
        parameter.data = value
    report = game.report()
    real = game.discriminator.network(batch.x).logits
    assert report["discriminator/logit_real"] == pytest.approx(real.mean().item())
    fake = game.last_losses["discriminator"][1]["fake"]
    expected = nonsaturating.discriminator(real=real, fake=fake).item()
    assert report["discriminator/adversarial"] == pytest.approx(expected)
    assert 0 <= report["discriminator/clipped"] <= 1


# ---------------------------------------------------------------------------------------------------- what is refused


class Branching(nn.Module):
    """A critic that torch.func cannot differentiate per sample."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(2, 1)

    def forward(self, x, condition):
        return DiscriminatorOutput(self.last(x if x.sum() > 0 else -x).flatten())


def normed() -> tuple[nn.Module, nn.Module]:
    critic = play.Critic(nn.Sequential(nn.Linear(2, 8), nn.BatchNorm1d(8)), nn.Linear(8, 1))
    return play.networks()[0], critic


REFUSED = {
    "batch norm in D": ({"nets": normed()}, "BatchNorm1d at trunk.1 mixes the images of a batch"),
    "a relativistic loss": ({"objective": relativistic}, "objective.discriminator compares reals with fakes"),
    "a relativistic average": ({"objective": relativistic_average}, "compares reals with fakes|not a mean over reals"),
    "R1": ({"d": {"regularizers": {"r1": R1()}}}, "regularizer.discriminator.r1 uses images"),
    "LeCam": ({"d": {"regularizers": {"lecam": LeCam()}}}, "regularizer.discriminator.lecam uses images"),
    "feature matching": (
        {"g": {"regularizers": {"matching": FeatureMatching()}}},
        "regularizer.generator.matching uses images",
    ),
    "another player": ({"private_player": "critic"}, "game.private_player=critic is not a player"),
    "reals that are computed": (
        {"sides": {"real": {"of": "x", "by": "generator", "judge": "discriminator"},
                   "fake": {"by": "generator", "judge": "discriminator"}}},
        "game.sides.real: privacy needs reals that are columns",
    ),
    "a layer that branches on its input": ({"nets": (play.networks()[0], Branching())}, "no gradient per image"),
}  # fmt: skip


@pytest.mark.parametrize("kind", REFUSED)
def test_what_gives_images_to_another_loss_or_mixes_them_is_refused(kind: str) -> None:
    settings, message = REFUSED[kind]
    with pytest.raises(Mistake, match=message):
        private_game(**settings)


def test_a_hinge_loss_spectral_norm_and_a_term_of_fakes_are_accepted_and_nothing_changes() -> None:
    maker, critic = play.networks()
    r2 = {"regularizers": {"r2": R2()}}  # of the slope at fakes
    game = private_game(hinge, nets=(maker, SpectralNorm(critic)), d=r2, prepare=False)
    before = {name: tensor.clone() for name, tensor in game.state_dict().items()}
    states = {name: stream.state for name, stream in game.streams.items()}
    game.prepare(Points(), N)
    assert all(stream.state.equal(states[name]) for name, stream in game.streams.items())
    assert all(tensor.equal(before[name]) for name, tensor in game.state_dict().items())


def test_few_images_are_reported_with_the_epsilon_that_they_give() -> None:
    game = private_game(noise=1.0, clip=1.0, delta=1e-3, prepare=False)
    lines = game.prepare(Points(), 10 * N)
    assert f"only 12 training images, and these settings give epsilon {game.guarantee.epsilon(10):.3g}" in lines[1]


def test_a_game_that_is_not_prepared_does_not_train() -> None:
    with pytest.raises(Mistake, match="trained by `saddlepoint train` only"):
        play.fit(private_game(prepare=False), [rows(Points(), 0)])


@pytest.mark.parametrize("key", ["flip", "jitter", "labels"])
def test_augmented_or_labelled_batches_are_refused(key: str) -> None:
    data = Points()
    setattr(data, key, 2)
    with pytest.raises(Mistake, match=f"data.{key}=2"):
        private_game(data=data)


def test_several_devices_and_scaled_gradients_are_refused(monkeypatch) -> None:
    game = private_game()
    game.trainer = SimpleNamespace(precision_plugin=SimpleNamespace(scaler=object()))
    with pytest.raises(Mistake, match="bf16-mixed"):
        game.on_fit_start()
    monkeypatch.setattr("saddlepoint.ranks.world_size", lambda: 2)
    with pytest.raises(Mistake, match="devices=1"):
        game.on_fit_start()


# ---------------------------------------------------------------------------------------------------- whole runs

RUN = ["game=private", "game.delta=1e-4", "game.noise=1", "game.players.generator.every=2"]


@pytest.fixture(scope="module")
def half(tmp_path_factory):
    """A folder with a run that has ended at 48 images."""
    folder = tmp_path_factory.mktemp("half")
    train_run([*RUN, "images=48"], folder)
    return folder


def state(folder):
    content = checkpoint_content(folder)
    return {key: content[key] for key in ("state_dict", "optimizer_states", "saddlepoint")}


def test_training_2n_images_equals_training_n_and_resuming_to_2n(half, tmp_path) -> None:
    shutil.copytree(half, tmp_path / "halves")
    train_run([*RUN, "images=96"], tmp_path / "halves")
    train_run([*RUN, "images=96"], tmp_path / "whole")
    assert state(tmp_path / "halves") == state(tmp_path / "whole")
    summaries = [json.loads((folder / "run/seed0/summary.json").read_text()) for folder in (half, tmp_path / "halves")]
    first, second = (summary["privacy"] for summary in summaries)
    assert (first["steps"], second["steps"]) == (3, 6)
    assert first["epsilon"] < second["epsilon"]


@pytest.mark.parametrize("key", ["game.clip=2", "game.noise=2", "batch=32", "data.reserved=100"])
def test_resuming_with_other_settings_is_refused_even_if_allowed(half, key: str) -> None:
    before = (half / "run/seed0/config.yaml").read_bytes()
    with pytest.raises(Mistake, match=r"in the steps so far, and would be .*guarantee would be false"):
        train_run([*RUN, "images=96", key, "resume.allow=[game,batch,data]"], half)
    assert (half / "run/seed0/config.yaml").read_bytes() == before


def test_resuming_with_fewer_steps_of_the_private_player_is_refused_even_if_allowed(half) -> None:
    with pytest.raises(Mistake, match=r"game.players.discriminator.every=2: it was 1 in the steps so far"):
        train_run([*RUN, "images=96", "game.players.discriminator.every=2", "resume.allow=[game]"], half)


def test_resuming_without_privacy_is_refused_even_if_allowed(half) -> None:
    plain = ["images=96", "game.players.generator.every=2", "resume.allow=[game]"]
    with pytest.raises(Mistake, match="steps without privacy would make its guarantee false"):
        train_run(plain, half)


def test_two_secret_games_differ_and_their_seed_does_not_follow_from_that_of_the_run() -> None:
    one, other = (private_game(secret=True, noise=1.0, clip=1.0, delta=1e-3) for _ in range(2))
    assert len({one.private_seed, other.private_seed, one.seed}) == 3
    assert not one.streams["noise"].state.equal(other.streams["noise"].state)


def test_a_secret_run_resumes_with_its_own_seed(tmp_path) -> None:
    secret = [*RUN, "game.secret=true"]
    train_run([*secret, "images=48"], tmp_path / "one")
    shutil.copytree(tmp_path / "one", tmp_path / "copy")
    for folder in ("one", "copy"):
        train_run([*secret, "images=96"], tmp_path / folder)
    assert state(tmp_path / "one") == state(tmp_path / "copy")
    with pytest.raises(Mistake, match=r"game.secret=false: the steps so far had the other value"):
        train_run([*RUN, "images=144", "resume.allow=[game]"], tmp_path / "one")
