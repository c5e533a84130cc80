"""Tokens from the command line: resume bit for bit, equal pre-training, and every command that reads a run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from play import fit
from rich.console import Console
from runs import assert_equal, state

from saddlepoint.cli import main
from saddlepoint.config.compose import compose
from saddlepoint.config.instantiate import instantiate
from saddlepoint.data import oracle
from saddlepoint.experiment.train import train

START = 160  # images of pre-training
TINY = [
    "data.symbols=6", "data.length=5", "data.number=200", "batch=16", "logger=none", "evaluation.n=64",
    "callback.likelihood.n=64", "callback.grid.rows=1", "callback.grid.columns=2", "architecture.generator.hidden=8",
    "architecture.discriminator.filters=4", "architecture.discriminator.representations=2",
    f"optimizer.generator.lr.milestones=[{START}]",
]  # fmt: skip


def switched(term: str) -> list[str]:
    """Overrides that move the switch of an experiment to START, and the start of D to 32 images before."""
    starts = {"game.players.discriminator.weight": START - 32, term: START}
    return [f"regularizer.generator.negative_log_likelihood.weight.milestones=[{START}]",
            *(f"{key}.{name}={value}" for key, start in starts.items()
              for name, value in (("begin", start - 1), ("images", start)))]  # fmt: skip


ROUTES = {
    "oracle_likelihood": [],
    "oracle_relgan": [
        *switched("game.players.generator.weight"), f"architecture.generator.relaxation.begin={START}",
        f"architecture.generator.relaxation.images={2 * START}",
    ],
    "oracle_maligan": switched("regularizer.generator.policy_gradient.weight"),
}  # fmt: skip


@pytest.fixture(autouse=True)
def _few(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(oracle, "HELD_OUT", 100)
    monkeypatch.chdir(tmp_path)


def composed(route: str, *overrides: str):
    without = ["metric=[]", "callback.likelihood.temperatures=[]"]
    return compose([f"experiment={route}", *TINY, *ROUTES[route], *without, *overrides])


def test_routes_share_their_pre_training_bit_for_bit() -> None:
    halves, ends = {}, {}
    for route in ROUTES:
        config = composed(route)
        torch.manual_seed(0)
        game, data = instantiate(config.game, "game"), instantiate(config.data, "data")
        batches = [batch for batch, _ in zip(data.training_batches(), range(2 * START // 16), strict=False)]
        network = game.player("generator").network
        fit(game, batches[: START // 16])
        halves[route] = {key: value.clone() for key, value in network.state_dict().items()}
        fit(game, batches[START // 16 :])
        ends[route] = network.state_dict()
    for route in ("oracle_relgan", "oracle_maligan"):
        assert_equal(halves[route], halves["oracle_likelihood"])
    key = "network.linear.weight"
    assert not torch.equal(halves["oracle_likelihood"][key], ends["oracle_likelihood"][key])
    assert len({tuple(end[key].flatten().tolist()) for end in ends.values()}) == 3, "the routes differ after the switch"


@pytest.mark.slow
@pytest.mark.parametrize("route", ROUTES)
def test_a_run_resumes_bit_for_bit_across_the_switch(route: str) -> None:
    runs = (("parts", START), ("parts", 2 * START), ("whole", 2 * START))
    _, parts, whole = (
        train(composed(route, f"images={images}", f"name={name}"), Console(quiet=True)) for name, images in runs
    )
    assert_equal(state(parts), state(whole))


@pytest.mark.slow
def test_a_run_of_tokens_is_sampled_measured_exported_examined_and_compared(
    capsys: pytest.CaptureFixture[str],
) -> None:
    often = [f"callback.{name}.images_between=96" for name in ("health", "evaluation", "grid", "snapshot")]
    for name, lr in (("text", 1e-4), ("other", 1e-3)):
        config = ["experiment=oracle_relgan", *TINY, *ROUTES["oracle_relgan"], f"images={2 * START}", f"name={name}"]
        further = ["metric=[nll_oracle]", "callback.likelihood.temperatures=[0.5,1.0]"]
        assert main(["train", *config, *often, *further, f"optimizer.discriminator.lr={lr}"]) == 0
    run = Path("outputs/text/seed0")
    assert (run / "samples" / "temperature.png").is_file()
    final = json.loads((run / "summary.json").read_text())["final"]
    assert {score["contract"]["metric"] for score in final.values()} == {
        "nll_oracle", "nll", "forward_kl", "reverse_kl"
    }  # fmt: skip
    assert main(["sample", f"run={run}", "n=9", "to=samples.txt"]) == 0
    assert len(Path("samples.txt").read_text().splitlines()) == 9
    assert main(["evaluate", f"run={run}", "architecture.generator.temperature=0.5"]) == 0
    (line,) = (run / "evaluations.jsonl").read_text().splitlines()
    assert "architecture.generator.temperature: 1 -> 0.5" in line.replace("1.0 ->", "1 ->")
    assert main(["memorisation", f"run={run}"]) == 0
    assert main(["export", f"run={run}", "to=exported", "formats=[safetensors,program]"]) == 0
    assert main(["compare", "runs=outputs/*", "by=optimizer.discriminator.lr", "metric=reverse_kl"]) == 0
    assert "reverse_kl" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["metric=[inception_score]"], "language_model"),
        (["metric=[parzen]"], "language_model"),
        (["metric=[nll_oracle]", "evaluation.extractor=inception"], "identity"),
    ],
)
def test_scores_of_images_name_those_of_text(
    overrides: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["train", "experiment=oracle_likelihood", *TINY, *overrides, "images=16", "name=text"])
    out, error = capsys.readouterr()
    assert message in out + error
