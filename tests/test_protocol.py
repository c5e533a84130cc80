"""A protocol names a way of measuring: it does not change the game, and applies equally to new and existing runs."""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path

import pytest
import torch
from omegaconf import DictConfig, OmegaConf

from saddlepoint.config import catalogue
from saddlepoint.config.check import check
from saddlepoint.config.compose import apply_overrides, compose
from saddlepoint.error import Mistake
from saddlepoint.metric.occupancy import expected_captured_modes, expected_histogram_kl

if "protocol" not in catalogue.default_options():
    pytest.skip("conf/train.yaml has no group protocol yet", allow_module_level=True)

from saddlepoint.config.compose import protocol_overrides

INCEPTION = {"extractor": "inception", "resizer": None}
FACTS = {  # as published: evaluation.* and the metrics
    "own": ({}, {"fid", "inception_score", "coverage"}),
    "torch_fidelity": ({"n": 50_000, "split": "train", **INCEPTION}, {"fid", "inception_score", "kid"}),
    "ttur_50k_train": ({"n": 50_000, "split": "train", **INCEPTION}, {"fid"}),
    "10k_test_5k": ({"n": 5_000, "split": "test", **INCEPTION}, {"fid"}),
    "10k_test_10k": ({"n": 10_000, "split": "test", **INCEPTION}, {"fid"}),
    "50k_train": ({"n": 50_000, "split": "train", **INCEPTION}, {"fid", "inception_score", "kid"}),
    "veegan_2500": ({"n": 2_500, "extractor": "identity"}, {"modes"}),
    "stacked_26k": ({"n": 26_000, "extractor": "stacked-mnist"}, {"class_modes"}),
    "stacked_25k6": ({"n": 25_600, "extractor": "stacked-mnist"}, {"class_modes"}),
    "parzen_10k": ({"n": 10_000, "split": "test"}, {"parzen"}),
}
CONF = Path(__file__).parents[1] / "conf" / "protocol"
PROTOCOLS = catalogue.option_names("protocol")


@cache
def default() -> DictConfig:
    return compose()


def plain(config: DictConfig, key: str) -> dict:
    section = OmegaConf.to_container(config[key], resolve=True)
    assert isinstance(section, dict)
    return section


def test_every_protocol_is_in_the_table_of_facts() -> None:
    assert set(PROTOCOLS) == set(FACTS)


@pytest.mark.parametrize("name", PROTOCOLS)
def test_a_protocol_measures_as_published_and_changes_nothing_else(name: str) -> None:
    config, before = compose([f"protocol={name}"]), default()
    check(config)
    settings, scores = FACTS[name]
    assert set(config.metric) == scores
    assert plain(config, "evaluation") == plain(before, "evaluation") | settings
    assert config.name == before.name  # the protocol does not change the run
    assert config.choice.protocol == name
    changed = {"evaluation", "metric", "choice"}
    assert {k: v for k, v in config.items() if k not in changed} == {
        k: v for k, v in before.items() if k not in changed
    }


@pytest.mark.parametrize("name", PROTOCOLS)
def test_a_protocol_states_its_source_and_price(name: str) -> None:
    lines = (catalogue.conf_folder() / "protocol" / f"{name}.yaml").read_text().splitlines()
    assert lines[0] == "# @package _global_"
    header = "\n".join(line for line in lines if line.startswith("# "))
    assert "# price: " in header
    assert "# source: " in header or name == "own"


@pytest.mark.parametrize("name", PROTOCOLS)
def test_an_existing_run_is_measured_like_a_new_one(name: str) -> None:
    run = compose(["metric=[coverage]", "evaluation.seed=5", "evaluation.batch=50"])
    new, settings = apply_overrides(run, [f"protocol={name}"]), FACTS[name][0]
    assert plain(new, "evaluation") == plain(run, "evaluation") | settings  # its seed and batch are expected
    expected = run if name == "own" else compose([f"protocol={name}"])
    assert plain(new, "metric") == plain(expected, "metric")
    assert new.choice.metric == expected.choice.metric
    assert new.choice.protocol == name
    assert run.choice.get("protocol") is None


def test_overrides_have_priority_over_a_protocol_in_any_order() -> None:
    for line in (["protocol=50k_train", "evaluation.n=70"], ["evaluation.n=70", "protocol=50k_train"]):
        assert compose(line).evaluation.n == 70
        assert apply_overrides(compose(), line).evaluation.n == 70
    line = ["protocol=10k_test_10k", "+metric=coverage"]
    assert set(compose(line).metric) == set(apply_overrides(compose(), line).metric) == {"fid", "coverage"}
    assert set(compose(["protocol=50k_train", "metric=[coverage]"]).metric) == {"coverage"}


# ----------------------------------------------------------------------------------------------- user-defined protocols


@pytest.fixture
def user_conf(tmp_path: Path) -> Path:
    files = {
        "protocol/quick.yaml": "defaults:\n  - 10k_test_10k\n  - _self_\nevaluation: {n: 1_000, extractor: '1'}\n",
        "protocol/greedy.yaml": "evaluation: {n: 5}\nimages: 7\n",
        "protocol/sly.yaml": "defaults:\n  - override /data: mnist\n",
        "experiment/paper.yaml": "defaults:\n  - override /protocol: 10k_test_5k\nbatch: 32\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(f"# @package _global_\n{text}")
    return tmp_path


def test_a_protocol_can_extend_another(user_conf: Path) -> None:
    new, old = compose(["protocol=quick"], user_conf), apply_overrides(compose(), ["protocol=quick"], user_conf)
    assert plain(new, "evaluation") == plain(old, "evaluation")
    assert (new.evaluation.n, new.evaluation.split, new.evaluation.extractor) == (1000, "test", "1")
    assert new.metric == old.metric


@pytest.mark.parametrize(("name", "message"), [("greedy", "images"), ("sly", "override /data"), ("nowhere", "no such")])
def test_an_invalid_protocol_is_refused(user_conf: Path, name: str, message: str) -> None:
    with pytest.raises(Mistake, match=message):
        apply_overrides(compose(), [f"protocol={name}"], user_conf)


def test_an_experiment_can_choose_a_protocol_and_the_command_line_another(user_conf: Path) -> None:
    config = compose(["experiment=paper"], user_conf)
    assert (config.evaluation.n, config.evaluation.split, config.batch) == (5_000, "test", 32)
    config = compose(["experiment=paper", "protocol=ttur_50k_train"], user_conf)
    assert (config.evaluation.n, config.evaluation.split, config.batch) == (50_000, "train", 32)


def test_nulls_flags_and_quotes_pass_through_overrides_unchanged(tmp_path: Path) -> None:
    (tmp_path / "protocol").mkdir()
    (tmp_path / "protocol" / "odd.yaml").write_text("evaluation: {n: null, average: true, extractor: 'it''s', m: 1}\n")
    assert protocol_overrides("odd", tmp_path) == [
        "++evaluation.n=null",
        "++evaluation.average=true",
        '++evaluation.extractor="it\'s"',
        "evaluation.m=1",
    ]


def test_a_run_without_a_newer_key_is_measured_and_an_unknown_key_is_refused(tmp_path: Path) -> None:
    run = compose()
    OmegaConf.set_struct(run, False)
    del run.evaluation.resizer
    OmegaConf.set_struct(run, True)
    assert apply_overrides(run, ["protocol=ttur_50k_train"]).evaluation.resizer is None
    (tmp_path / "protocol").mkdir()
    (tmp_path / "protocol" / "odd.yaml").write_text("evaluation: {splt: test}\n")
    with pytest.raises(Mistake, match=r"evaluation\.splt"):
        apply_overrides(run, ["protocol=odd"], tmp_path)


def header(name: str) -> str:
    """Return the comment at the top of a protocol file as one line."""
    lines = (CONF / f"{name}.yaml").read_text().splitlines()
    return " ".join(line.removeprefix("# ") for line in lines if line.startswith("#"))


@pytest.mark.parametrize("name", ["stacked_26k", "stacked_25k6"])
def test_the_stated_scores_of_a_perfect_sampler_are_exact_expectations(name: str) -> None:
    n = FACTS[name][0]["n"]
    law = torch.full((1000,), 1e-3, dtype=torch.float64)
    assert f"A perfect sampler has 1,000 and {expected_histogram_kl(law, n, law):.5f}".replace("0.", ".") in header(
        name
    )
    assert expected_captured_modes(law, n) == pytest.approx(1000, abs=1e-6)


def test_the_stated_number_of_modes_from_classification_errors_is_exact() -> None:
    digit = torch.tensor([1 - 0.0075, *[0.0075 / 9] * 9], dtype=torch.float64)  # one class, all errors equally likely
    stack = torch.einsum("a,b,c->abc", digit, digit, digit).flatten()
    modes = expected_captured_modes(stack, FACTS["stacked_26k"][0]["n"])
    assert f"({modes:.0f} if it errs on .75% of digits" in header("stacked_26k")


def test_the_stated_high_quality_fraction_is_that_of_three_deviations() -> None:
    assert f"{100 * (1 - math.exp(-4.5)):.2f}% of high quality" in header("veegan_2500")
