"""A turn with nan or inf is dumped, and gives the same result when it is replayed."""

import functools
import math

import pytest
import torch
from crashed import train_run

from saddlepoint.callback import dump
from saddlepoint.callback.finite import Diverged
from saddlepoint.cli import main
from saddlepoint.error import Mistake
from saddlepoint.experiment.replay import replay_turn
from saddlepoint.experiment.run_config import load_run_config
from saddlepoint.objective import nonsaturating
from saddlepoint.run import checkpoint
from saddlepoint.run.folder import Run

SMALL = ["batch=16", "images=640", "architecture.generator.widths=[16]", "architecture.discriminator.widths=[16]",
         "callback=[finite,checkpoint]", "callback.checkpoint.images_between=48", "logger=none", "name=run",
         "evaluation.extractor=null"]  # fmt: skip
BLOW = ["+schedule@optimizer.discriminator.lr=step", "optimizer.discriminator.lr.value=1e-4",
        "optimizer.discriminator.lr.milestones=[100]", "optimizer.discriminator.lr.factor=1e42"]  # fmt: skip


def dumped(words, root):
    """Run a training with `words`; return the path of its dump."""
    with pytest.raises(Diverged) as stopped:
        train_run([*SMALL, *words], root)
    (path,) = (root / "run" / "seed0" / "dumps").iterdir()
    assert f"saddlepoint replay dump={path}" in str(stopped.value)
    return path


def played(path):
    """Return the result of replaying a dump."""
    return replay_turn(load_run_config(Run(path.parent.parent)), dump.load_dump(path))


def planted(monkeypatch, side, when, what):
    """Replace an objective by one that returns what(loss, logits) when when(logits) holds."""
    honest = getattr(nonsaturating, side)

    @functools.wraps(honest)  # keeps __module__, by which the allow list decides
    def generator(fake):
        return what(honest(fake), fake) if when(fake) else honest(fake)

    @functools.wraps(honest)
    def discriminator(real, fake, real_label=1.0):
        loss = honest(real, fake, real_label)
        return what(loss, fake) if when(fake) else loss

    monkeypatch.setattr(nonsaturating, side, generator if side == "generator" else discriminator)


class Later:
    """True from the n-th call on, and once more when that turn is replayed."""

    def __init__(self, n):
        self.n, self.asked = n, 0

    def __call__(self, logits):
        self.asked += 1
        return self.asked >= self.n


@pytest.mark.parametrize(
    "words", [[], ["game=simultaneous"], ["regularizer=[gradient_penalty,historical_averaging]"]], ids=str
)
def test_an_overflowing_layer_is_named_and_the_turn_repeats_bit_for_bit(words, tmp_path):
    result = played(dumped([*BLOW, *words], tmp_path))
    assert result.mismatches == []
    assert str(result.first_bad_module).startswith(
        "players.discriminator.network.trunk.hidden1.1.0 (Linear); its input was finite"
    )
    assert result.gradient_counts[0] > 0
    terms = [value for values in result.turn_values.values() for value in values["terms"].values()]
    assert any(not math.isfinite(value) for value in terms)


@pytest.mark.parametrize("side", ["discriminator", "generator"])
def test_a_division_by_zero_in_a_term_names_no_module(side, tmp_path, monkeypatch):
    planted(monkeypatch, side, Later(6), lambda loss, fake: loss / (fake - fake).sum())
    path = dumped([], tmp_path)
    assert dump.load_dump(path)["what"].startswith(f"{side}/adversarial = ")
    result = played(path)
    assert (result.first_bad_module, result.mismatches) == (None, [])


def test_a_non_finite_gradient_of_a_finite_term_is_caught_before_the_step(tmp_path, monkeypatch):
    planted(monkeypatch, "generator", Later(6), lambda loss, fake: loss + (fake - fake).sqrt().sum())
    path = dumped([], tmp_path)
    content = dump.load_dump(path)
    assert content["what"].startswith("the gradient of players.generator.network.")
    assert all(torch.isfinite(v).all() for v in content["state_dict"].values() if isinstance(v, torch.Tensor))
    result = played(path)
    assert (result.first_bad_module, result.mismatches) == (None, [])
    assert str(result.first_bad_parameter).startswith("players.generator.network.")
    assert result.nonfinite_weights == []


def test_the_turn_repeats_in_a_resumed_run(tmp_path):
    noisy = ["architecture=salimans2016_mnist"]  # noise in its layers, which start from data
    train_run([*SMALL, *noisy, "images=48"], tmp_path)
    with pytest.MonkeyPatch.context() as patch:
        planted(patch, "discriminator", Later(1), lambda loss, fake: loss * float("inf"))
        path = dumped([*noisy, "images=640"], tmp_path)
        assert (
            dump.load_dump(path)["images"] == 48
        )  # the first round after: the global generators have just been put back
        assert played(path).mismatches == []


def test_the_command_names_the_module_and_whether_the_turn_repeats(tmp_path, capsys):
    path = dumped(BLOW, tmp_path)
    assert main(["replay", f"dump={path}"]) == 0
    printed = capsys.readouterr().out
    assert "generator/adversarial" in printed
    assert "first module with a non-finite output: players.discriminator.network.trunk" in printed
    assert "same result, bit for bit: yes" in printed


def test_a_different_result_is_reported_and_the_exit_code_is_1(tmp_path, monkeypatch, capsys):
    planted(monkeypatch, "discriminator", Later(6), lambda loss, fake: loss / (fake - fake).sum())
    path = dumped([], tmp_path)
    assert main(["replay", f"dump={path}"]) == 0
    assert "first module with a non-finite output: none" in capsys.readouterr().out
    content = dump.load_dump(path)
    content["streams"]["latent"] = content["streams"]["augment"]
    checkpoint.save_torch_file(content, tmp_path / "other.pt")
    assert main(["replay", f"dump={tmp_path / 'other.pt'}", f"run={path.parent.parent}"]) == 1
    assert "same result, bit for bit: no: discriminator/fake" in capsys.readouterr().out


def test_an_invalid_dump_or_one_of_another_game_is_refused(tmp_path):
    path = dumped(BLOW, tmp_path)
    with pytest.raises(Mistake, match="is not a dump of a turn"):
        dump.load_dump(path.parent.parent / "checkpoints" / "last.ckpt")
    with pytest.raises(Mistake, match="belongs to another game than this run"):
        replay_turn(
            load_run_config(Run(path.parent.parent), ["architecture.generator.widths=[8]"]), dump.load_dump(path)
        )
    with pytest.raises(Mistake, match="has seed 0 and the run has seed 1"):
        replay_turn(load_run_config(Run(path.parent.parent), ["seed=1"]), dump.load_dump(path))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(Mistake, match="its checksum does not match"):
        dump.load_dump(path)
