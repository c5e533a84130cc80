"""The base of discriminators: a trunk, a readout and any number of named heads."""

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn

from saddlepoint.layer.readout import LinearReadout
from saddlepoint.turn import UNCONDITIONAL, Condition, DiscriminatorOutput


class Discriminator(nn.Module):
    """x -> trunk -> neck -> readout and heads.

    trunk      hidden layers by name, in order; the last returns [N, features]
    neck       called with the number of features F; returns a module [N, F] -> [N, F'], with an attribute `features`
               if F' differs from F
    readout    called with the number of features; returns a module (features, condition, heads) -> logits [N]
    heads      number of outputs per named head
    Layers of the trunk and a neck whose class has `conditional = True` are called with (x, condition).
    """

    def __init__(
        self,
        trunk: Mapping[str, nn.Module],
        features: int,
        neck: Callable[[int], nn.Module] | None = None,
        readout: Callable[[int], nn.Module] | None = None,
        heads: Mapping[str, int] | None = None,
    ) -> None:
        super().__init__()
        self.trunk = nn.ModuleDict(trunk)
        self.neck = neck(features) if neck is not None else nn.Identity()
        features = getattr(self.neck, "features", features)
        self.readout = (readout or LinearReadout)(features)
        self.heads = nn.ModuleDict({name: nn.Linear(features, size) for name, size in (heads or {}).items()})

    def forward(self, x: Tensor, condition: Condition = UNCONDITIONAL) -> DiscriminatorOutput:
        """Return logits [N], hidden layers by name, and heads [N, size] by name."""
        features: dict[str, Tensor] = {}
        for name, layer in self.trunk.items():
            conditional = getattr(type(layer), "conditional", False)
            x = features[name] = layer(x, condition) if conditional else layer(x)
        x = self.neck(x, condition) if getattr(type(self.neck), "conditional", False) else self.neck(x)
        heads: dict[str, Any] = {name: head(x) for name, head in self.heads.items()}
        return DiscriminatorOutput(self.readout(x, condition, heads), features, heads)
