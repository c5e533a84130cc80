"""Saddlepoint from Python: an existing run, its game, its latents and interpolations between them."""

import io
import math
import sys

import pytest
import torch
from rich.console import Console

import saddlepoint
from saddlepoint.error import Mistake

TINY = ["data=gaussians", "data.number=500", "evaluation.extractor=null", "batch=64", "logger=none", "name=run",
        "architecture.generator.widths=[16]", "architecture.discriminator.widths=[16]", "images=128", "threads=1",
        "callback=[finite,checkpoint,journal]", "callback.journal.images_between=64"]  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> saddlepoint.Run:
    folder = tmp_path_factory.mktemp("python")
    saddlepoint.train(saddlepoint.compose([*TINY, f"outputs={folder}"]), Console(file=io.StringIO()))
    return saddlepoint.Run(folder / "run" / "seed0")


def test_a_game_maps_its_latents_to_its_samples(run: saddlepoint.Run) -> None:
    game = saddlepoint.load(run)
    latent = game.latent(5)
    assert {name: entry.shape[0] for name, entry in latent.items()} == dict.fromkeys(game.prior, 5)
    assert torch.equal(game(latent), game.sample(5))
    assert torch.equal(game(latent, average=False), game.sample(5, average=False))
    assert not torch.equal(game(latent), game(latent, average=False))
    assert torch.equal(game(game.latent(5, seed=3)), game(game.latent(5, seed=3)))
    assert not torch.equal(game(game.latent(5, seed=3)), game(latent))
    first = {name: entry[:2] for name, entry in latent.items()}
    assert torch.allclose(game(first), game(latent)[:2])
    assert not game(latent).requires_grad


def test_latents_of_another_prior_are_refused_by_name(run: saddlepoint.Run) -> None:
    game = saddlepoint.load(run)
    with pytest.raises(ValueError, match=r"latents of this game have parts .*z.*these are .*other"):
        game({"other": torch.zeros(2, 3)})


def test_an_interpolation_includes_both_ends_and_is_spherical_or_linear() -> None:
    one = {"z": torch.tensor([[2.0, 0.0], [1.0, 0.0]])}
    other = {"z": torch.tensor([[0.0, 2.0], [3.0, 0.0]])}
    great = saddlepoint.interpolate(one, other, 5)["z"].view(2, 5, 2)
    angle = torch.linspace(0, math.pi / 2, 5)
    assert torch.allclose(great[0], 2 * torch.stack([angle.cos(), angle.sin()], 1), atol=1e-6)
    line = saddlepoint.interpolate(one, other, 5, kind="linear")["z"].view(2, 5, 2)
    assert torch.allclose(line[0], torch.tensor([[2.0, 0], [1.5, 0.5], [1, 1], [0.5, 1.5], [0, 2]]))
    assert torch.allclose(great[1], line[1])  # for parallel ends no great circle is defined
    for way in (great, line):
        assert torch.equal(way[:, 0], one["z"])
        assert torch.allclose(way[:, -1], other["z"], atol=1e-6)
    with pytest.raises(ValueError, match="kind=round must be spherical or linear"):
        saddlepoint.interpolate(one, other, kind="round")
    with pytest.raises(ValueError, match="steps=1"):
        saddlepoint.interpolate(one, other, 1)
    with pytest.raises(ValueError, match="same parts"):
        saddlepoint.interpolate(one, {"z": torch.zeros(1, 2)})


def test_a_spherical_interpolation_of_normal_latents_keeps_their_norm_and_a_linear_one_does_not() -> None:
    one, other = ({"z": torch.randn(50, 512, generator=torch.Generator().manual_seed(i))} for i in (0, 1))
    middle = {
        kind: saddlepoint.interpolate(one, other, 3, kind)["z"].view(50, 3, 512)[:, 1].norm(dim=1).mean().item()
        for kind in ("spherical", "linear")
    }
    assert middle["spherical"] == pytest.approx(math.sqrt(512), rel=0.01)
    assert middle["linear"] == pytest.approx(math.sqrt(256), rel=0.03)


def test_metrics_are_a_pandas_table_or_an_error_with_a_remedy(
    run: saddlepoint.Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run.metrics.read_text()  # it is also the path of the file
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(Mistake, match=r"^run.metrics\(\) needs pandas: pip install pandas. run.rows\(\) gives"):
        run.metrics()
    monkeypatch.undo()
    frame = run.metrics()
    assert list(frame["images"]) == [64, 128]
    assert frame.to_dict("records")[0].items() >= next(iter(run.rows())).items()
    assert [row["images"] for row in run.rows()] == [64, 128]


def test_a_run_with_user_code_is_loaded_if_it_is_allowed(
    run: saddlepoint.Run, tmp_path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "myplayers.py").write_text(
        "from saddlepoint.architecture.mlp import Generator as Mine\n\n\nclass Own(Mine):\n    pass\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    overrides = [
        *TINY,
        f"outputs={tmp_path}",
        "architecture.generator._target_=myplayers.Own",
        "allow_target=[myplayers]",
    ]
    run_of_user_code = saddlepoint.train(saddlepoint.compose(overrides), Console(file=io.StringIO()))
    with pytest.raises(Mistake, match="myplayers"):
        saddlepoint.load(run_of_user_code)
    for allow in (["myplayers"], "myplayers"):
        assert saddlepoint.load(run_of_user_code, allow=allow).sample(3).shape == (3, 2)
