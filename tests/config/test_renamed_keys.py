"""Renamed config keys: the old name is still accepted, in stored configs and on the command line."""

from pathlib import Path

import pytest
import yaml

from saddlepoint.cli import main
from saddlepoint.comparison.arms.record import load_record
from saddlepoint.config import catalogue, config_file
from saddlepoint.config.compose import apply_overrides, compose
from saddlepoint.config.identity import compute_identity

RUN = Path(__file__).parents[1] / "fixture" / "runs" / "image" / "seed0"


def test_a_stored_config_with_the_old_key_is_loaded_with_the_new_one() -> None:
    assert yaml.safe_load((RUN / "config.yaml").read_text())["evaluation"]["second"] == "auto"
    for evaluation in (
        config_file.load_config(RUN / "config.yaml").evaluation,
        load_record(RUN).config.full["evaluation"],
    ):
        assert evaluation["second_extractor"] == "auto"
        assert "second" not in evaluation


@pytest.mark.parametrize("key", ["evaluation.second", "+evaluation.second", "++evaluation.second"])
def test_an_override_of_the_old_key_sets_the_new_one(key: str) -> None:
    config = config_file.load_config(RUN / "config.yaml")
    assert apply_overrides(config, ["evaluation.second=null"]).evaluation.second_extractor is None
    assert catalogue.rename_override(f"{key}=null") == f"{key}_extractor=null"
    assert (
        catalogue.rename_override("+extractor@evaluation.second=mnist")
        == "+extractor@evaluation.second_extractor=mnist"
    )
    assert catalogue.rename_override(f"{key}_extractor=null") == f"{key}_extractor=null"


def test_the_command_line_prints_the_new_key_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "evaluation.second=null", "evaluation.second=null", "--cfg", "job"]) == 0
    printed = capsys.readouterr()
    assert printed.err == "saddlepoint: evaluation.second=null is now evaluation.second_extractor=null\n"
    assert yaml.safe_load(printed.out)["evaluation"]["second_extractor"] is None


def test_a_user_defined_experiment_with_the_old_key_composes_with_a_message(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text("# @package _global_\nevaluation: {second: null}\n")
    config = compose(["experiment=mine"], tmp_path)
    assert config.evaluation.second_extractor is None
    assert "second" not in config.evaluation
    assert caplog.messages == ["evaluation.second is now evaluation.second_extractor"]


def test_the_second_extractor_does_not_change_the_identity() -> None:
    assert compute_identity(compose([])) == compute_identity(compose(["evaluation.second=null"]))
