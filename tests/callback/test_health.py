"""Health checks change nothing, planted failures raise the alarm of their rule, and healthy games raise none."""

import copy
import io
import json
import shlex
from functools import partial

import pytest
import pytorch_lightning as pl
import torch
from omegaconf import OmegaConf
from play import Critic, Maker, Watch, batches, fit, game
from rich.console import Console
from runs import SMALL, assert_equal, run, state
from torch import nn

from saddlepoint import ranks
from saddlepoint.callback import health
from saddlepoint.callback.finite import Diverged, Finite
from saddlepoint.callback.health import RULES, Health, UnhealthyRun
from saddlepoint.callback.health_probe import HealthProbe
from saddlepoint.callback.periodic import RunState, StopAtImages
from saddlepoint.config.check import check
from saddlepoint.config.compose import compose
from saddlepoint.data.data import Data, Split
from saddlepoint.error import Mistake
from saddlepoint.experiment.train import train
from saddlepoint.game.average import Average
from saddlepoint.game.game import Game
from saddlepoint.game.initialisation import run_data_dependent_init
from saddlepoint.game.player import Player
from saddlepoint.health.explosion import Explosion
from saddlepoint.health.remedy import remedy_overrides
from saddlepoint.health.rule import CLEARED, RAISED, Rule
from saddlepoint.objective import minimax, nonsaturating, wasserstein
from saddlepoint.prior.normal import Normal
from saddlepoint.prior.prior import Prior
from saddlepoint.regularizer.gradient_penalty import GradientPenalty
from saddlepoint.run.folder import Run
from saddlepoint.run.journal import RunJournal
from saddlepoint.run.tracking.background_worker import BackgroundWorker
from saddlepoint.run.tracking.tracker import Tracker


class Cloud(Data):
    """Standard normal points: only memorisation separates training points from others."""

    name = "cloud"

    def __init__(self, train=2_000, held_out=256, size=16, batch=64):
        super().__init__([size], None, None, batch)
        self.sizes = {"train": train, **({"validation": held_out} if held_out else {})}

    def splits(self):
        draw = torch.Generator().manual_seed(5)
        return {name: Split(name, torch.randn(n, *self.shape, generator=draw)) for name, n in self.sizes.items()}


class AlertLogger(pl.loggers.logger.DummyLogger):
    """Records rows and alerts."""

    def __init__(self):
        super().__init__()
        self.rows, self.alerts = [], []

    def log_metrics(self, metrics, step=None):
        self.rows.append({"images": step, **metrics})

    def alert(self, title, text):
        self.alerts.append((title, text))


def adam(lr):
    return partial(torch.optim.Adam, lr=lr, betas=(0.5, 0.999))


def train_game(
    maker, critic, data, images, objective=nonsaturating, lr=(1e-3, 1e-3), penalties=None, callbacks=(), **settings
):
    """Train a game with health checks; return its Health callback and logger."""
    players = {
        "discriminator": Player(critic, adam(lr[0]), objective.discriminator, penalties or {}),
        "generator": Player(maker, adam(lr[1]), objective.generator),
    }
    logger = AlertLogger()
    loggers = [logger, RunJournal(settings["run"])] if "run" in settings else [logger]
    state = RunState(images)
    callback = Health(state=state, console=Console(file=io.StringIO(), width=300), **settings)
    trainer = pl.Trainer(
        max_epochs=-1, accelerator="cpu", logger=loggers, callbacks=[StopAtImages(state), *callbacks, callback],
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0,
    )  # fmt: skip
    plays = Game(players, Prior(z=Normal(16)), 0)
    run_data_dependent_init(plays, data.training_batches(0))
    trainer.fit(plays, datamodule=data)
    return callback, logger


def nets(width=64, size=16, last=nn.Identity):
    torch.manual_seed(0)
    maker = Maker(nn.Sequential(nn.Linear(16, width), nn.ReLU(), nn.Linear(width, size), last()))
    return maker, Critic(nn.Sequential(nn.Linear(size, width), nn.LeakyReLU(0.2)), nn.Linear(width, 1))


def perfect():
    """A generator that is the identity, which has the distribution of the data, and a wide critic."""
    identity = nn.Linear(16, 16)
    nn.init.eye_(identity.weight)
    nn.init.zeros_(identity.bias)
    return Maker(identity), nets(width=256)[1]


def first_alarm(logger):
    """The rule and the number of images of the first alarm; None without one."""
    if not logger.alerts:
        return None
    title, text = logger.alerts[0]
    return title.removeprefix("health: "), int(text.split(" at ")[1].split(" images")[0].replace(",", ""))


# ------------------------------------------------------------------------------------------------ planted failures


def test_overfitting_of_d_raises_an_alarm_within_12_800_images():
    """G is perfect and fixed (the identity), so D can only win by memorising the 64 training points."""
    _, logger = train_game(*perfect(), Cloud(train=64, batch=256), 12_800, lr=(2e-3, 0.0))
    assert first_alarm(logger) == ("overfitting", 12_800)
    assert len(logger.alerts) == 1
    assert logger.rows[-1]["health/train_over_held_out"] > 0.75


def test_with_enough_points_the_same_discriminator_does_not_overfit():
    _, logger = train_game(*perfect(), Cloud(train=50_000, batch=256), 12_800, lr=(2e-3, 0.0))
    assert logger.alerts == []
    assert logger.rows[-1]["health/train_over_held_out"] == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize("objective", [nonsaturating, pytest.param(wasserstein, marks=pytest.mark.slow)])
def test_a_collapsed_generator_raises_an_alarm_within_12_800_images(objective):
    maker, critic = nets()
    nn.init.zeros_(maker.network[2].weight)
    maker.network[2].weight.requires_grad_(False)
    penalties = {"gradient_penalty": GradientPenalty(10.0)} if objective is wasserstein else None
    _, logger = train_game(maker, critic, Cloud(batch=256), 20_000, objective, penalties=penalties)
    assert first_alarm(logger) == ("collapse", 12_800)


def test_a_penalty_of_weight_a_million_raises_an_alarm_within_6_400_images():
    penalties = {"gradient_penalty": GradientPenalty(1e6)}
    _, logger = train_game(*nets(), Cloud(batch=256), 20_000, wasserstein, penalties=penalties)
    assert first_alarm(logger) == ("explosion", 6_400)


def test_a_dead_discriminator_raises_an_alarm_within_6_400_images():
    maker, critic = nets()
    dead = nn.Sequential(critic.trunk[0], nn.ReLU())
    nn.init.constant_(dead[0].bias, -100.0)  # no input activates any unit
    _, logger = train_game(maker, Critic(dead, critic.last), Cloud(batch=256), 10_000)
    assert first_alarm(logger) == ("dead_discriminator", 6_400)


def test_minimax_against_a_certain_discriminator_raises_an_alarm_within_12_800_images():
    maker, critic = nets()
    nn.init.constant_(maker.network[2].bias, 30.0)
    _, logger = train_game(maker, critic, Cloud(batch=256), 20_000, minimax, lr=(1e-2, 1e-6))
    assert first_alarm(logger)[0] == "saturation"
    assert first_alarm(logger)[1] <= 12_800


@pytest.mark.slow
def test_an_equally_certain_critic_raises_no_saturation_alarm():
    maker, critic = nets()
    nn.init.constant_(maker.network[2].bias, 30.0)
    penalties = {"gradient_penalty": GradientPenalty(10.0)}
    _, logger = train_game(maker, critic, Cloud(batch=256), 20_000, wasserstein, lr=(1e-3, 1e-6), penalties=penalties)
    assert logger.rows[-1]["health/real_over_fake"] > 0.99
    assert "saturation" not in {title.removeprefix("health: ") for title, _ in logger.alerts}


ARMS = {  # of conf/experiment/objectives_digits.yaml
    "nonsaturating": ["objective=nonsaturating"],
    "minimax": ["objective=minimax"],
    "smoothed": ["objective=nonsaturating", "objective.discriminator.real_label=0.9"],
    "hinge": ["objective=hinge"],
    "wasserstein_gp": ["objective=wasserstein", "+regularizer=gradient_penalty"],
    "relativistic_r1_r2": ["objective=relativistic", "+regularizer=[r1,r2]"],
}


@pytest.mark.slow  # a healthy game on points is tested below
@pytest.mark.parametrize("arm", ARMS)
def test_a_healthy_start_of_each_objective_raises_no_alarm(arm, tmp_path):
    rates = ["optimizer.discriminator.lr=1e-3", "optimizer.generator.lr=1e-3"]
    overrides = [*ARMS[arm], *rates, "images=5_120", "metric=[]", "callback.health.images_between=640"]
    record = run(tmp_path, *overrides, "callback.grid.images_between=9999999")
    assert sum("health/diversity" in row for row in record.rows()) == 8
    assert "health:" not in record.said
    assert not (record.folder / "postmortem.md").exists()
    assert not (record.folder / "health.jsonl").exists()


def test_an_alarm_of_one_rank_stops_all_ranks_in_the_same_round(monkeypatch):
    """Losses depend on the samples of a rank: here they are small, and on the other rank one is 10^3."""
    monkeypatch.setattr(ranks, "all_gather_object", lambda readings: [readings, readings | {"magnitude": 3.0}])
    with pytest.raises(UnhealthyRun, match="stopped by explosion after 64 images"):
        train_game(*nets(), Cloud(), 640, images_between=64, stop=["explosion"])


@pytest.mark.parametrize("stop", ["[any]", "[explosion]", "null"])
def test_stop_can_be_set_on_the_command_line(stop):
    config = compose([f"callback.health.stop={stop}"])
    check(config)
    assert Health(stop=config.callback.health.stop).stop <= set(RULES)


@pytest.mark.parametrize(
    ("split", "message"),
    [("train", "D is trained on these"), ("all", "D is trained on these"), ("nope", "no split 'nope'")],
)
def test_a_split_that_is_not_held_out_is_refused(split, message):
    with pytest.raises(Mistake, match=message):
        train_game(*nets(), Cloud(), 64, images_between=64, held_out=split)


# ------------------------------------------------------------------------------------------------ readings


def game_and_readings(maker, critic, data, **generator):
    """A game and its readings before any player has moved."""
    players = {
        "discriminator": Player(critic, adam(0.0), nonsaturating.discriminator),
        "generator": Player(maker, adam(0.0), nonsaturating.generator, **generator),
    }
    plays = Game(players, Prior(z=Normal(16)), 0)
    return plays, HealthProbe(data, 256, "validation", print).readings(plays)


class Counted(nn.Module):
    """A layer whose output depends on the batch: it adds the number of samples."""

    coupled = True

    def forward(self, x):
        return x + len(x)


def test_readings_of_a_batch_dependent_discriminator_use_full_batches():
    critic = Critic(Counted(), nn.Linear(2, 1))
    with torch.no_grad():
        critic.last.weight.fill_(1.0)
    plays = game(nonsaturating, nets=(Maker(nn.Linear(3, 2)), critic))
    sizes = []
    critic.trunk.register_forward_hook(lambda module, inputs, output: sizes.append(len(output)))
    HealthProbe(Cloud(100, 100, size=2, batch=48), 100, "validation", print).readings(plays)
    assert sizes == [48] * 9  # 100 rows three times, each as 48, 48, and 4 filled up with the first 44


def test_each_accuracy_is_computed_from_the_side_in_its_name():
    """D's logit is the first coordinate: 2 for training points, 0 for held-out points and -1 for fakes, so that both
    held-out points and fakes are below the midpoint 0.5."""
    data = Cloud()
    splits = {"train": 2.0, "validation": 0.0}
    data._splits = {name: Split(name, torch.full((400, 16), at)) for name, at in splits.items()}
    data._splits["train"].x[0] += 1e-3  # equal reals would have no diversity
    maker, critic = nets()
    for layer in maker.network[2], critic.last:
        nn.init.zeros_(layer.weight)
    nn.init.constant_(maker.network[2].bias, -1.0)
    critic.trunk, critic.last = nn.Identity(), nn.Linear(16, 1, bias=False)
    nn.init.zeros_(critic.last.weight)
    critic.last.weight.data[0, 0] = 1.0
    _, readings = game_and_readings(maker, critic, data)
    assert (readings["accuracy_train"], readings["accuracy_fake"], readings["accuracy_held_out"]) == (1, 1, 0)
    assert (readings["train_over_held_out"], readings["real_over_fake"]) == (1, 1)


def test_fakes_come_from_the_live_weights_and_not_from_their_average():
    maker, critic = nets()
    plays, before = game_and_readings(maker, critic, Cloud(), average=partial(Average, half_life=100))
    for parameter in plays.generator.average.network.parameters():
        nn.init.zeros_(parameter)  # an average that always makes the same sample
    after = HealthProbe(Cloud(), 256, "validation", print).readings(plays)
    assert after == before
    assert before["diversity"] > 1e-3


def test_the_gradient_ratio_is_the_norm_of_g_over_that_of_d():
    ratios = []

    def measure(g, batch):
        norms = {name: float(g.gradient_norm(name)) for name in ("generator", "discriminator")}
        ratios.append(norms["generator"] / norms["discriminator"])

    _, logger = train_game(*nets(), Cloud(), 64, images_between=64, callbacks=[Watch(after=measure)])
    assert logger.rows[-1]["health/gradient_ratio"] == pytest.approx(ratios[-1], rel=1e-4)
    assert abs(ratios[-1] - 1) > 0.05


# ------------------------------------------------------------------------------------------------ no side effects


def test_a_check_after_each_round_does_not_change_a_game_with_dropout_and_batch_norm():
    torch.manual_seed(0)
    maker = Maker(nn.Sequential(nn.Linear(16, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 16)))
    critic = Critic(
        nn.Sequential(nn.Linear(16, 8), nn.BatchNorm1d(8), nn.LeakyReLU(), nn.Dropout(0.5)), nn.Linear(8, 1)
    )
    ends = []
    for between in (10**9, 64):
        torch.manual_seed(1)
        modes = []
        spy = Watch(before=lambda g, i, modes=modes: modes.append(all(m.training for m in g.modules())))
        copies = copy.deepcopy(maker), copy.deepcopy(critic)
        _, logger = train_game(*copies, Cloud(), 640, images_between=between, callbacks=[spy])
        assert all(modes)
        ends.append([*copies[0].state_dict().values(), *copies[1].state_dict().values(), torch.get_rng_state()])
    assert sum("health/magnitude" in row for row in logger.rows) == 10
    assert all(torch.equal(one, other) for one, other in zip(*ends, strict=True))


ALWAYS = ["callback.health.rules.explosion.raise_at=-9", "callback.health.rules.explosion.clear_at=-10"]
STILL = ["metric=[]", "callback.grid.images_between=9999999", "callback.snapshot.images_between=9999999"]


def test_a_run_stopped_by_a_rule_resumes_bit_for_bit_with_the_same_command(tmp_path):
    plain = run(tmp_path / "plain", *STILL, "callback=[finite,evaluation,grid,snapshot,journal,checkpoint]")
    overrides = [*STILL, *ALWAYS, "callback.health.images_between=320", "callback.health.stop=[explosion]"]
    with pytest.raises(UnhealthyRun, match=r"stopped by explosion after 320 images") as caught:
        run(tmp_path / "watched", *overrides)
    (folder,) = (tmp_path / "watched").glob("*/seed*")
    record = Run(folder)
    assert (record.summary["status"], record.summary["exit"], record.summary["images"]) == ("stopped", 1, 320)
    assert caught.value.said.count("health: explosion at 320 images") == 1
    page = (folder / "postmortem.md").read_text()
    assert "# Post-mortem: explosion at 320 images" in page
    assert "**stopped**" in page
    record = run(tmp_path / "watched", *overrides)
    assert record.summary["status"] == "finished"
    assert "health: explosion at" not in record.said  # it is still raised, and not reported twice
    assert [event["images"] for event in record.events("health.jsonl")[0]] == [320]
    assert_equal(state(plain), state(record))


# ----------------------------------------------------------------------------------------------- messages


def poisoned(at):
    return Watch(
        before=lambda g, i: next(g.generator.network.parameters()).data.fill_(float("nan")) if i == at else None
    )


def test_a_diverged_run_has_a_postmortem_with_the_term_and_the_readings_before_it(tmp_path):
    players = "{discriminator: {clip: null}, generator: {clip: null}}"
    (tmp_path / "config.yaml").write_text(f"{{seed: 0, images: 6400, game: {{players: {players}}}}}")
    with pytest.raises(Diverged):
        train_game(*nets(), Cloud(), 6400, images_between=64, run=Run(tmp_path), callbacks=[Finite(64), poisoned(5)])
    page = (tmp_path / "postmortem.md").read_text()
    assert page.startswith("# Post-mortem: explosion at 320 images")
    assert "discriminator/adversarial = nan" in page
    assert "**diverged**" in page
    assert "`game.players.discriminator.clip=10 game.players.generator.clip=10`" in page
    assert (tmp_path / "postmortem.png").read_bytes().startswith(b"\x89PNG")


def test_an_alarm_gives_one_alert_one_line_and_one_event_however_long_it_lasts(tmp_path):
    rules = {"explosion": {"raise_at": -9.0, "clear_at": -10.0}}
    callback, logger = train_game(*nets(), Cloud(), 640, images_between=64, rules=rules, run=Run(tmp_path))
    assert [title for title, _ in logger.alerts] == ["health: explosion"]
    lines = callback.console.file.getvalue().splitlines()
    assert sum(line.startswith("health: explosion at 64 images") for line in lines) == 1
    (event,) = Run(tmp_path).events("health.jsonl")[0]
    assert (event["rule"], event["event"], event["images"]) == ("explosion", "raised", 64)


class Swinging(Rule):
    """Raised at the first check and cleared at the second, whatever the readings."""

    name, reading, means, source, remedies = "swinging", "magnitude", "it swings", "nobody", ()

    def observe(self, readings, images):
        return {64: RAISED, 128: CLEARED}.get(images)


def test_the_end_of_an_alarm_gives_a_line_and_no_second_alert(tmp_path):
    rules = {"swinging": Swinging(raise_at=1.0, clear_at=0.0, after=1)}
    callback, logger = train_game(*nets(), Cloud(), 256, images_between=64, rules=rules, run=Run(tmp_path))
    assert [title for title, _ in logger.alerts] == ["health: swinging"]
    assert "swinging at 128 images: cleared" in callback.console.file.getvalue()
    assert [event["event"] for event in Run(tmp_path).events("health.jsonl")[0]] == ["raised", "cleared"]


def test_a_resumed_run_drops_alarms_after_its_checkpoint(tmp_path):
    events = [{"rule": "collapse", "event": "raised", "images": at} for at in (64, 128, 192)]
    (tmp_path / "health.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))
    health._discard_events_after(Run(tmp_path), 128)
    assert [event["images"] for event in Run(tmp_path).events("health.jsonl")[0]] == [64, 128]


def test_an_alarm_about_growth_predicts_when_float32_overflows():
    rule = Explosion(raise_at=2.5, clear_at=2.0)
    readings = {"magnitude": 3.0, "overflow_in": 7_106.0}
    event = rule.event_record(RAISED, readings, 6_400) | {"rule": rule.name} | health._overflow_note(rule, readings)
    assert health.describe_event(event).endswith("; at this pace float32 overflows in 7,106 images")
    assert health._overflow_note(rule, {"magnitude": 3.0}) == {}


def test_a_healthy_run_has_no_postmortem_and_removes_an_older_one(tmp_path):
    (tmp_path / "postmortem.md").write_text("from an earlier start")
    train_game(*nets(), Cloud(), 640, images_between=64, run=Run(tmp_path))
    assert not list(tmp_path.glob("postmortem*"))


def test_data_without_a_held_out_split_give_one_message_and_all_other_readings():
    callback, logger = train_game(*nets(), Cloud(held_out=0), 640, images_between=64)
    assert callback.console.file.getvalue().count("no data are held out") == 1
    assert "health/diversity" in logger.rows[-1]
    assert not any("held_out" in key for key in logger.rows[-1])


def test_a_game_without_a_data_module_has_the_readings_of_its_turns():
    callback = Health(images_between=16, console=Console(file=io.StringIO()))
    fit(game(minimax), batches(5), [callback])
    assert len(callback.magnitude_history) == 5


@pytest.mark.slow
def test_a_game_on_one_point_raises_no_alarm_at_its_equilibrium(tmp_path):
    small = [f"architecture.{player}.widths" for player in ("generator", "discriminator")]  # which dirac does not have
    overrides = [text for text in SMALL if text.partition("=")[0] not in small]
    record = train(
        compose([*overrides, f"outputs={tmp_path}", "data=point", "architecture=dirac", "metric=[]", "+regularizer=r1",
                 "callback.health.images_between=64"]),
        console := Console(file=io.StringIO(), width=200),
    )  # fmt: skip
    row = [row for row in record.rows() if "health/magnitude" in row][-1]
    assert "health/diversity" not in row
    assert "health/logit_spread" not in row
    assert "health:" not in console.file.getvalue()


ADVISED = {  # networks without norm or neck, lists with their own settings, a layer that is set already
    "pacgan_toy": ["architecture=pacgan_toy", "data=gaussians"],
    "dirac": ["architecture=dirac", "data=point"],
    "conv28": ["architecture=conv28", "data=mnist"],
    "semisupervised": ["experiment=salimans2016_mnist_semisupervised"],
    "neck": ["+layer@architecture.discriminator.neck=minibatch_discrimination"],
    "r1": ["+regularizer=r1", "regularizer.discriminator.r1.weight=3"],
}


FEW = ("pacgan_toy", "semisupervised", "neck")  # each override is composed, which is slow


@pytest.mark.parametrize("run", [n if n in FEW else pytest.param(n, marks=pytest.mark.slow) for n in ADVISED])
def test_every_override_of_a_remedy_can_be_added_to_the_command_of_the_run(run):
    config = OmegaConf.to_container(compose(ADVISED[run]), resolve=False)
    remedies = dict.fromkeys(remedy.overrides for rule in RULES.values() for remedy in rule.remedies)
    advised = [overrides for remedy in remedies if (overrides := remedy_overrides(remedy, config))]
    assert len(advised) > 3
    for overrides in advised:
        check(compose([*ADVISED[run], *shlex.split(overrides)]))


def test_a_layer_is_suggested_only_if_the_discriminator_can_have_it():
    override = "+layer@architecture.discriminator.norm=weight_norm"
    assert remedy_overrides(override, OmegaConf.to_container(compose([]), resolve=False)) == override
    assert remedy_overrides(override, OmegaConf.to_container(compose(ADVISED["pacgan_toy"]), resolve=False)) is None


def test_the_tracker_sends_an_alert_to_wandb_if_it_is_used():
    class Wandb:
        def alert(self, title, text, level):
            self.received = title, text, level

    tracker = Tracker("disabled")
    tracker.alert("health: collapse", "a line")
    tracker._wandb, tracker._worker = Wandb(), BackgroundWorker("W&B", print)
    tracker.alert("health: collapse", "a line")
    assert tracker._worker.finish(10)
    assert tracker._wandb.received == ("health: collapse", "a line", "WARN")
