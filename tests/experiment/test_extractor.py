"""A user-defined extractor is one .py and one .yaml, and can be chosen by name."""

import re
import sys
from pathlib import Path

import pytest
from evaluated import evaluate
from omegaconf import OmegaConf

from saddlepoint.config.compose import compose
from saddlepoint.error import Mistake
from saddlepoint.experiment.evaluators import extractor_names
from saddlepoint.experiment.train import train

SMALL = ["images=256", "architecture.generator.widths=[8]", "architecture.discriminator.widths=[8]", "logger=none",
         "callback=[evaluation,checkpoint]", "metric=[frechet_distance]", "evaluation.n=100", "name=run"]  # fmt: skip
EXTENDING = Path(__file__).parents[2] / "docs" / "extending.md"
MEANS = """
from saddlepoint.extractor.extractor import Extractor, Features

class Means(Extractor):
    name, sha256, classes = "means", "0" * 64, None

    def __init__(self, shape, cache, rows: bool = True) -> None:
        super().__init__()
        assert cache is not None
        self.shape, self.dim, self.rows = shape, shape[1 if rows else 2], rows

    def forward(self, x):
        return Features(x.float().mean((1, 3 if self.rows else 2)))
"""


@pytest.fixture
def conf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of user-defined extractors, one as docs/extending.md shows it, with their modules on sys.path."""
    group = tmp_path / "conf" / "extractor"
    group.mkdir(parents=True)
    for path in ("mynets.py", "conf/extractor/corner.yaml"):
        block = re.search(rf"```(?:python|yaml)\n# {re.escape(path)}\n(.*?)```", EXTENDING.read_text("utf-8"), re.S)
        assert block is not None
        (tmp_path / path).write_text(block[1])
    (tmp_path / "mymeans.py").write_text(MEANS)
    (group / "means.yaml").write_text("_target_: mymeans.Means\nrows: false\n")
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("mynets", "mymeans"):
        sys.modules.pop(name, None)
    return tmp_path / "conf"


def test_a_run_is_measured_by_a_user_defined_extractor_and_its_config_contains_it(conf: Path, tmp_path: Path) -> None:
    overrides = [*SMALL, f"outputs={tmp_path}", "evaluation.second_extractor=means", "allow_target=[mynets,mymeans]"]
    run = train(compose([*overrides, "evaluation.extractor=corner"], conf))
    config = OmegaConf.load(run.config)
    assert config.evaluation.extractor == {"_target_": "mynets.Corner", "size": 3}
    assert config.evaluation.second_extractor == {"_target_": "mymeans.Means", "rows": False}
    final = {score["contract"]["extractor"] for score in run.summary["final"].values()}
    assert final == {"corner", "means"}
    again = evaluate(run.folder, overrides=["allow_target=[mynets,mymeans]"])
    assert {score.contract.extractor for scores in again.values() for score in scores.values()} == final
    other = evaluate(
        run.folder, overrides=["evaluation.extractor=means", "allow_target=[mynets,mymeans]"], config_dir=conf
    )
    assert {score.contract.extractor for scores in other.values() for score in scores.values()} == {"means"}
    with pytest.raises(Mistake, match="there is no extractor means"):
        evaluate(run.folder, overrides=overrides)


def test_a_user_defined_extractor_needs_allow_target(conf: Path, tmp_path: Path) -> None:
    with pytest.raises(Mistake, match=r"evaluation\.extractor: mynets\.Corner is not on the list"):
        train(compose([*SMALL, f"outputs={tmp_path}", "evaluation.extractor=corner"], conf))
    assert not (tmp_path / "run").exists()


def test_a_user_defined_extractor_cannot_have_the_name_of_a_shipped_one(conf: Path) -> None:
    assert compose(["evaluation.extractor=mnist"], conf).evaluation.extractor == "mnist"
    assert compose([], conf).evaluation.extractor == "digits"
    (conf / "extractor" / "digits.yaml").write_text("_target_: mynets.Corner\n")
    with pytest.raises(Mistake, match=r"extractor=digits is built in"):
        compose([], conf)


def test_the_extractor_group_can_be_composed_and_a_wrong_key_is_corrected() -> None:
    config = compose(["+extractor@evaluation.extractor=nearest", "evaluation.extractor.resizer=bilinear"])
    assert config.evaluation.extractor._target_.endswith(".Nearest")
    assert config.evaluation.extractor.resizer == "bilinear"
    with pytest.raises(Mistake, match=r"no such key: extractor\. Here it is evaluation\.extractor=inception"):
        compose(["extractor=inception"])
    assert {"digits", "inception", "trained-b"} <= set(extractor_names())
