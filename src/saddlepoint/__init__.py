"""Saddlepoint: a framework for training and measuring GANs and other two-player generative models, configured in YAML.

Python API: `compose(overrides)`, `build(config)`, `train(config)`, `load(run)`, `interpolate(latent, latent)`, and
`Run(folder)`, which reads the folder of a run. Names are imported on first use, so that `import saddlepoint` and the
command line start fast.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from saddlepoint.config.compose import compose
    from saddlepoint.experiment.build import build
    from saddlepoint.experiment.restore import load
    from saddlepoint.experiment.train import train
    from saddlepoint.export.load_generator import exported
    from saddlepoint.prior.prior import interpolate
    from saddlepoint.run.folder import Run

__version__ = "0.2.0"
__all__ = ["Run", "build", "compose", "exported", "interpolate", "load", "train"]
_MODULE_OF = {
    "Run": "run.folder",
    "build": "experiment.build",
    "compose": "config.compose",
    "exported": "export.load_generator",
    "interpolate": "prior.prior",
    "load": "experiment.restore",
    "train": "experiment.train",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'saddlepoint' has no attribute {name!r}")
    return getattr(import_module(f"saddlepoint.{_MODULE_OF[name]}"), name)
