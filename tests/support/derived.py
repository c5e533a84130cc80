"""Colour images, and a generator that takes a source of any channels and size."""

import torch
from torch import nn

from saddlepoint.data.data import Data, Split


class Colours(Data):
    """Random colour images, 8 x 8."""

    name = "colours"

    def __init__(self, shape, classes, extractor, batch=8, seed=0, **rest):
        super().__init__(shape, classes, extractor, batch, seed)

    def splits(self):
        draw = torch.Generator().manual_seed(0)
        return {
            name: Split(name, torch.randint(256, (20, 3, 8, 8), generator=draw, dtype=torch.uint8))
            for name in ("train", "validation", "test")
        }


class Enlarge(nn.Module):
    """A source of any channels and size -> [N, 3, 8, 8]: its mean over channels, each pixel repeated, times a gain."""

    def __init__(self, latent, shape, widths=(8,), norm=None, condition=None, bounded=None):
        super().__init__()
        self.gain, self.side = nn.Parameter(torch.ones(3, 1, 1)), shape[1]

    def forward(self, x, condition):
        return self.gain * nn.functional.interpolate(x.mean(1, keepdim=True), (self.side, self.side))


class DropoutTranslator(nn.Module):
    """source [N, 1, 8, 8] -> [N, 1, 8, 8] through batch norm and dropout, the noise of pix2pix."""

    def __init__(self, latent, shape, widths=(8,), norm=None, condition=None, bounded=None):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, 4, 3, padding=1),
            nn.BatchNorm2d(4),
            nn.Dropout2d(0.5),
            nn.Conv2d(4, 1, 3, padding=1),
            nn.Tanh(),
        )

    def forward(self, x, condition):
        return self.layers(x)
