"""A generator of a researcher's own that starts from an image."""

import math

from torch import nn


class Translator(nn.Module):
    """source -> shape; the latent that every game draws is no input of it."""

    def __init__(self, latent, shape, widths=(8,), norm=None, condition=None):
        super().__init__()
        size = math.prod(shape)
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(size, size), nn.Tanh(), nn.Unflatten(1, tuple(shape)))

    def forward(self, x, condition):
        return self.layers(x)
