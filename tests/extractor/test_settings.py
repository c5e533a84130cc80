"""Each yaml of conf/extractor lists every argument of its target, except those that the caller supplies."""

import inspect
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from saddlepoint.config.check import import_target
from saddlepoint.extractor.extractor import Extractor

CONF = Path(__file__).parents[2] / "conf" / "extractor"
SUPPLIED = {"data", "shape", "modality", "cache", "log", "progress"}


@pytest.mark.parametrize("file", sorted(CONF.glob("*.yaml")), ids=lambda file: file.stem)
def test_an_extractor_lists_every_argument_with_its_default(file: Path) -> None:
    settings = OmegaConf.to_container(OmegaConf.load(file))
    assert isinstance(settings, dict)
    name = settings.pop("_target_")
    target = import_target("extractor", name)
    assert inspect.isclass(target)
    assert issubclass(target, Extractor)
    arguments = {key: value for key, value in inspect.signature(target).parameters.items() if key not in SUPPLIED}
    assert set(settings) == set(arguments)
    if name.split(".")[2] == file.stem:  # others are presets: digits is a shipped classifier of that name
        assert settings == {key: argument.default for key, argument in arguments.items()}
