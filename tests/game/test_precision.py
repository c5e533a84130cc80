"""Half precision and compiled networks train the same game; slopes are in full precision and eager code."""

from functools import partial

import pytest
import pytorch_lightning as pl
import torch
from play import Rounds, Watch, batches, fit, game
from pytorch_lightning.plugins import MixedPrecision

from saddlepoint.error import Mistake
from saddlepoint.objective import nonsaturating, wasserstein
from saddlepoint.regularizer.gradient_penalty import GradientPenalty
from saddlepoint.regularizer.r1 import R1
from saddlepoint.regularizer.slope import squared_slope
from saddlepoint.turn import DiscriminatorOutput, Sample

PENALTIES = {"r1": (nonsaturating, R1), "gradient_penalty": (wasserstein, GradientPenalty)}


def fit_fp16(game, rounds, scale=1024.0):
    """Train in fp16 on a CPU, with the scaler that Lightning uses only on GPUs; return the scaler."""
    scaler = torch.amp.GradScaler("cpu", init_scale=scale)
    trainer = pl.Trainer(
        max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, plugins=[MixedPrecision("16-mixed", "cpu", scaler)],
    )  # fmt: skip
    trainer.fit(game, Rounds(batches(rounds)))
    return scaler


@pytest.mark.parametrize("penalty", PENALTIES)
def test_under_fp16_with_a_scaler_each_player_moves_as_in_full_precision(penalty):
    objective, term = PENALTIES[penalty]
    weights = {}
    for precision in ("full", "half"):
        torch.manual_seed(0)
        plays = game(objective, {penalty: term(weight=0.5)})
        if precision == "full":
            fit(plays, batches(5))
        else:
            assert fit_fp16(plays, 5).get_scale() == 1024  # nothing has overflowed
        weights[precision] = {k: v for k, v in plays.named_parameters() if "average" not in k}
    for name, value in weights["full"].items():
        torch.testing.assert_close(weights["half"][name], value, atol=5e-3, rtol=5e-2)


def test_players_that_move_at_once_are_refused_under_fp16():
    with pytest.raises(Mistake, match="use bf16-mixed"):
        fit_fp16(game(nonsaturating, rule="simultaneous"), 1)


@pytest.mark.parametrize("fused", [False, True])
def test_a_clipped_step_does_not_depend_on_the_gradient_scale(fused):
    """A fused optimizer would unscale in its step, after clipping, which is too late."""
    plays = game(nonsaturating, d={"clip": 0.05}, optimizer=partial(torch.optim.SGD, lr=0.1, fused=fused))
    before = [p.detach().clone() for p in plays.discriminator.network.parameters()]
    fit_fp16(plays, 1)
    moved = [p.detach() - old for p, old in zip(plays.discriminator.network.parameters(), before, strict=True)]
    assert float(torch.nn.utils.get_total_norm(moved)) == pytest.approx(0.1 * 0.05, rel=1e-3)
    assert float(plays.gradient_norm("discriminator")) < 10  # the reported norm is unscaled too


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16])
def test_slopes_and_logits_are_in_full_precision(kind):
    torch.manual_seed(0)
    linear = torch.nn.Linear(3, 1, bias=False)
    kinds = []

    def discriminator(x, y=None):
        logits = linear(x)
        kinds.append(logits.dtype)
        return DiscriminatorOutput(logits.flatten())

    x = torch.randn(4, 3)
    with torch.autocast("cpu", dtype=kind):
        flat, leaf = Sample(x, None, discriminator), Sample(x.clone().requires_grad_(), None, discriminator)
        assert flat.logits.dtype == leaf.logits.dtype == torch.float32
        slope = squared_slope(leaf)
    assert kinds == [kind, torch.float32]
    torch.testing.assert_close(slope, linear.weight.square().sum().expand(4))


def test_simultaneous_play_is_not_compiled():
    with pytest.raises(Mistake, match="compile=false"):
        game(nonsaturating, rule="simultaneous").compile_players()


@pytest.mark.parametrize("penalty", [None, *PENALTIES])
def test_compiled_networks_play_the_eager_game(penalty):
    objective, term = PENALTIES.get(penalty, (nonsaturating, None))
    curves = []
    for compiled in (False, True):
        torch.manual_seed(0)
        plays = game(objective, {penalty: term(weight=0.5, every=2)} if penalty else {})
        if compiled:
            plays.compile_players("aot_eager")
        curve = []
        fit(plays, batches(4), [Watch(after=lambda game, i, curve=curve: curve.append(game.report()))])
        curves.append(curve)
    for eager, compiled in zip(*curves, strict=True):
        assert compiled == pytest.approx(eager, rel=1e-4, abs=1e-5)


def test_d_is_eager_exactly_if_a_slope_is_taken(monkeypatch):
    calls = []
    plays = game(nonsaturating, {"r1": R1(every=2)})
    network = plays.discriminator.network
    monkeypatch.setattr(torch, "compile", lambda module, backend: partial(_recorded, module, calls))
    plays.compile_players()
    plain = network.forward
    network.forward = lambda x, y=None: calls.append("plain") or plain(x, y)
    fit(plays, batches(2))
    # real and fake on D's turn, fake on G's; r1 is due in the first round only
    assert [call for call in calls if call != "G"] == ["plain", "compiled", "compiled", *["compiled"] * 3]


def _recorded(module, calls, x, y=None):
    """A replacement for a compiled network: records the call, and skips the patched `forward` of the eager network."""
    calls.append("G" if isinstance(x, dict) else "compiled")
    return type(module).forward(module, x, y)
