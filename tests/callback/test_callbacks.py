"""Callbacks: when they are due, what they print, and that they change nothing."""

import copy
import io
import os
import re
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from play import Watch, batches, fit, game
from rich import progress
from rich.console import Console
from runs import run

from saddlepoint.callback.evaluation import Evaluation
from saddlepoint.callback.finite import Diverged, Finite
from saddlepoint.callback.grid import save_png
from saddlepoint.callback.journal import Journal
from saddlepoint.callback.periodic import RunState, StopAtImages, is_due
from saddlepoint.callback.progress import Progress, _columns, format_status, format_time_left
from saddlepoint.error import Mistake
from saddlepoint.evaluation.contract import Contract, Score
from saddlepoint.modality import Image, Points
from saddlepoint.objective import minimax, wasserstein


@pytest.mark.parametrize(("between", "rounds"), [(16, 12), (40, 4), (48, 4), (1000, 0), (7, 12)])
def test_a_callback_is_due_once_per_multiple_for_any_batch_size(between, rounds):
    due = []
    fit(game(minimax), batches(12), [Watch(after=lambda g, i: due.append(is_due(g, between)))])
    assert sum(due) == rounds
    expected = [(i + 1) * 16 // between > i * 16 // between for i in range(12)]
    assert due == expected


def test_a_run_ends_at_the_first_round_that_reaches_its_images():
    plays = game(minimax)
    fit(plays, batches(50), [StopAtImages(RunState(100))])
    assert plays.images == 112


def test_a_picture_on_a_full_disk_raises_with_its_size_and_keeps_the_old_file(tmp_path, monkeypatch):
    small, large = (Image().picture(torch.zeros(n, 1, 8, 8)) for n in (1, 16))
    save_png(small, path := tmp_path / "samples" / "0.png")
    before = path.read_bytes()
    monkeypatch.setattr(os, "fsync", lambda file: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(Mistake, match=r"No space left on device \(it takes [\d,]+ bytes"):
        save_png(large, path)
    assert [file.read_bytes() for file in path.parent.iterdir()] == [before]


def test_observers_change_nothing():
    torch.manual_seed(0)
    plain = game(minimax)
    watched = copy.deepcopy(plain)
    console = Console(file=io.StringIO())
    fit(plain, batches(10))
    fit(watched, batches(10), [Finite(16), Journal(16), Progress(0.0, console), StopAtImages(RunState(10**9))])
    for one, other in zip(plain.state_dict().values(), watched.state_dict().values(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("player", ["discriminator", "generator"])
def test_a_nan_loss_is_reported_with_player_and_term(player):
    plays = game(wasserstein)

    def poison(g, i):
        if i == 3:
            network = plays.generator.network if player == "generator" else plays.discriminator.network
            next(network.parameters()).data.fill_(float("nan"))

    with pytest.raises(Diverged, match=r"discriminator/adversarial = nan in round 4, after 48 images"):
        fit(plays, batches(10), [Watch(before=poison), Finite(16)])
    assert plays.rounds == 3  # without the step of the fourth


def test_nan_weights_are_never_saved():
    plays = game(minimax)
    fit(plays, batches(1))
    Finite(16).on_save_checkpoint(None, plays, {})
    next(plays.generator.network.parameters()).data[0] = float("inf")
    with pytest.raises(Diverged, match=r"players\.generator\.network"):
        Finite(16).on_save_checkpoint(None, plays, {})


def test_the_report_has_player_and_term_keys_and_correct_values():
    plays = game(minimax)
    fit(plays, batches(3))
    report = plays.report()
    keys = {f"{player}/{what}" for player in plays.players for what in ("adversarial", "gradient_norm", "logit_fake")}
    assert keys | {"discriminator/logit_real", "discriminator/probability_fake"} <= set(report)
    losses, logits = plays.last_losses["discriminator"]
    assert report["discriminator/probability_real"] == pytest.approx(logits["real"].sigmoid().mean().item())
    expected = minimax.discriminator(logits["real"], logits["fake"]).item()
    assert losses["adversarial"].item() == pytest.approx(expected, abs=1e-6)
    gradients = [p.grad.flatten() for p in plays.discriminator.network.parameters()]
    assert report["discriminator/gradient_norm"] == pytest.approx(torch.cat(gradients).norm().item(), rel=1e-5)
    line = format_status(plays, RunState())
    assert line.startswith(f"D {losses['adversarial'].item():.3g}  D(x) ")
    assert "D(G(z))" in line


def test_the_status_shows_the_adversarial_loss_and_each_penalty():
    plays = game(minimax)
    fit(plays, batches(2))
    _, logits = plays.last_losses["discriminator"]
    losses = {"r1": torch.tensor(0.0213), "adversarial": torch.tensor(1.38), "gradient_penalty": torch.tensor(2.0)}
    plays.last_losses["discriminator"] = losses, logits
    plays.last_losses["generator"] = {"feature_matching": torch.tensor(0.5)}, {}
    line = format_status(plays, RunState())
    assert line.startswith("D 1.38 + r1 0.0213 + gradient_penalty 2  D(x) ")
    assert line.endswith("  G feature_matching 0.5")


def score(value):
    contract = Contract("fid", 897, 900, "train", "0" * 64, "1x8x8", "none", "digits", "1" * 64, "averaged", 0)
    return {contract.score_name: Score(value, contract)}


def test_the_status_names_the_images_of_an_earlier_score():
    plays = game(minimax)
    fit(plays, batches(2))
    now = RunState(scores=score(41.2), measured_at=plays.images)
    assert format_status(plays, now).endswith("  fid_digits_900_train 41.2")
    assert format_status(plays, replace(now, measured_at=4)).endswith("  fid_digits_900_train 41.2 at 4 images")


def test_the_latest_score_is_shown_even_if_it_is_newer_than_the_checkpoint():
    evaluation = Evaluation(64_000)
    evaluation.measured_at, evaluation.latest = 0, score(146.5)
    assert evaluation.current_scores == score(146.5)
    evaluation.previous_end = 20_000, score(50.6)  # measured at the end, after the last checkpoint
    assert evaluation.current_scores == score(50.6)
    evaluation.load_state_dict(evaluation.state_dict())
    assert (evaluation.state.measured_at, evaluation.state.scores) == (20_000, score(50.6))
    evaluation.measured_at, evaluation.latest = 64_000, score(20.1)
    assert evaluation.current_scores == score(20.1)


def test_after_a_few_rounds_the_pace_and_the_time_left_are_printed_once():
    progress, console = Progress(0.5), Console(file=io.StringIO(), width=200)
    progress.console, progress._target = console, 500_000
    for rounds in range(1, 40):  # half a second each
        progress._print_pace(
            SimpleNamespace(rounds=rounds, images=64 * rounds, device=torch.device("cpu")), 0.5 * rounds
        )
        assert bool(console.file.getvalue()) == (rounds > 20)  # not in the first ten seconds after the first round
    (line,) = console.file.getvalue().splitlines()
    assert line == "2 rounds/s, 128 images/s, about 65 min to go"


@pytest.mark.parametrize(
    ("seconds", "device", "text"),
    [
        (40, "cpu", ", about 40 s to go"),
        (3000, "cpu", ", about 50 min to go"),
        (
            25_200,
            "cpu",
            ", about 7 h to go on this CPU: images=70_000 take an hour; or use a smaller architecture, such as mlp",
        ),
        (25_200, "cuda", ", about 7 h to go"),
    ],
)
def test_hours_on_a_cpu_come_with_advice(seconds, device, text):
    assert format_time_left(seconds, 500_000 / 25_200, device) == text


def test_a_short_run_prints_its_pace_at_the_end():
    console = Console(file=io.StringIO(), width=200)
    fit(game(minimax), batches(4), [Progress(0.5, console), StopAtImages(RunState(10**9))])
    (line,) = console.file.getvalue().splitlines()
    assert re.fullmatch(r"[\d.,]+ rounds/s, [\d.,]+ images/s", line)


def test_a_grid_has_each_image_once_in_reading_order_enlarged():
    x = torch.stack([torch.full((1, 8, 8), i / 5 * 2 - 1) for i in range(6)])
    pixels = np.asarray(Image().picture(x, columns=3))
    assert pixels.shape == (2 * 58 + 2, 3 * 58 + 2, 3)  # 7 x 8 = 56, and 2 between
    centres = pixels[30::58, 30::58, 0]
    assert centres.flatten().tolist() == [round(i / 5 * 255) for i in range(6)]


def test_colours_and_large_images_are_drawn_unchanged():
    x = torch.zeros(4, 3, 64, 64)
    x[:, 0] = 1
    pixels = np.asarray(Image().picture(x, columns=2))
    assert pixels.shape == (2 * 66 + 2, 2 * 66 + 2, 3)
    assert pixels[10, 10].tolist() == [255, 128, 128]


def test_points_are_drawn_over_the_reals():
    reals, x = torch.tensor([[-1.0, 0.0]] * 50), torch.tensor([[1.0, 0.0]] * 50)
    red = np.asarray(Points().picture(x, reals=reals)).astype(int)
    is_red = (red[..., 0] > 180) & (red[..., 1] < 120)
    assert is_red[:, : red.shape[1] // 2].sum() == 0 or is_red[:, red.shape[1] // 2 :].sum() > 0
    assert is_red.sum() > 5


@pytest.mark.parametrize(("data", "reals"), [("gaussians", 2_000), ("digits", None)])
def test_a_grid_of_points_is_drawn_over_reals_and_one_of_images_is_not(data, reals, tmp_path, monkeypatch):
    sizes = []
    for modality in (Image, Points):
        original = modality.picture

        def picture(self, x, columns=8, scale=None, reals=None, original=original):
            sizes.append((len(x), None if reals is None else len(reals)))
            return original(self, x, columns, scale, reals)

        monkeypatch.setattr(modality, "picture", picture)
    run(tmp_path, f"data={data}", "images=64", "metric=[]")
    n = reals or 64
    assert sizes[0] == (n, None)  # the reals alone
    assert set(sizes[1:]) == {(n, reals)}


@pytest.mark.parametrize("width", [80, 120, 200])
def test_the_bar_shows_every_number_in_full_at_any_width(width):
    console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None)
    bar = progress.Progress(*_columns(width), console=console)
    status = "D 0.31  D(x) 0.90  D(G(z)) 0.05  G 4.24  fid_digits_900_train 103.1"
    bar.add_task(status, total=500_000, completed=123_456)
    console.print(bar.get_renderable())
    text = " ".join(console.file.getvalue().split())
    assert "…" not in text
    assert all(part in text for part in ["123456/500000", "images/s", "-:--:--", *status.split()])
