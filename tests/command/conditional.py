"""Generators of a researcher's own, for tests of what leaves the house: asked for a class, or hard to write down."""

import math

import torch
from torch import nn

from saddlepoint.layer.stack import stack


class Generator(nn.Module):
    """latent and a class -> widths -> shape: the class is embedded beside the latent."""

    def __init__(self, latent, shape, widths=(16,), norm=None, classes=10, condition=None, bounded=None):
        super().__init__()
        self.classes, self.shape = classes, tuple(shape)
        self.embedding = nn.Embedding(classes, 6)
        self.first = stack(nn.Linear(latent + 6, widths[0]), widths[0], norm, nn.ReLU())
        self.last = nn.Linear(widths[0], math.prod(shape))

    def forward(self, latent, condition):
        code = torch.cat([*latent.values(), self.embedding(condition["label"])], 1)
        return torch.tanh(self.last(self.first(code))).unflatten(1, self.shape)


class Plain(nn.Module):
    """latent -> shape, through `between`."""

    def __init__(self, latent, shape, widths=(16,), norm=None, condition=None, bounded=None):
        super().__init__()
        self.shape = tuple(shape)
        self.first, self.between = nn.Linear(latent, 8), self.middle()
        self.last = nn.Linear(8, math.prod(shape))

    def middle(self):
        return nn.Identity()

    def forward(self, latent, condition=None):
        x = self.between(self.first(torch.cat(list(latent.values()), 1)))
        return torch.tanh(self.last(x)).unflatten(1, self.shape)


class Bessel(nn.Module):
    """J_0(x): torch has it, ONNX has not."""

    def forward(self, x):
        return torch.special.bessel_j0(x)


class Waves(Plain):
    """An operator that ONNX lacks, in layer `between`."""

    def middle(self):
        return Bessel()


class Moody(Plain):
    """Branches on what it sees, which no graph does."""

    def forward(self, latent, condition=None):
        x = super().forward(latent, condition)
        return x if x.sum() > 0 else -x


class Counting(Plain):
    """Takes the size of its batch for a number."""

    def forward(self, latent, condition=None):
        x = super().forward(latent, condition)
        return x + torch.zeros(len(x), 1, 1, 1)
