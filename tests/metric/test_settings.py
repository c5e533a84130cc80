"""Each yaml of conf/metric lists every argument of its target, with its default; components have none in Python."""

import importlib
import inspect
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from saddlepoint.config.instantiate import signature_parameters

CONF = Path(__file__).parents[2] / "conf" / "metric"


@pytest.mark.parametrize("file", sorted(CONF.glob("*.yaml")), ids=lambda file: file.stem)
def test_a_metric_lists_every_argument_with_its_default(file: Path) -> None:
    (settings,) = OmegaConf.to_container(OmegaConf.load(file)).values()  # pyright: ignore[reportAttributeAccessIssue]
    module, _, name = settings.pop("_target_").rpartition(".")
    assert module == f"saddlepoint.metric.{file.stem}"
    target = getattr(importlib.import_module(module), name)
    settings |= {name: inspect.Parameter.empty for name, value in settings.items() if isinstance(value, dict)}
    assert settings == {name: argument.default for name, argument in (signature_parameters(target) or {}).items()}
