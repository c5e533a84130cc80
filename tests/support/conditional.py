"""User-defined generators for tests of exports: conditional ones, and ones that are hard to export."""

import math

import torch
from torch import nn

from saddlepoint.data.data import Split
from saddlepoint.data.digits import Digits
from saddlepoint.layer.conditional_sequential import hidden_layer


class Generator(nn.Module):
    """latent and a class -> widths -> shape: the embedded class is concatenated to the latent."""

    def __init__(self, latent, shape, widths=(16,), norm=None, classes=10, condition=None, bounded=None):
        super().__init__()
        self.classes, self.shape = classes, tuple(shape)
        self.embedding = nn.Embedding(classes, 6)
        self.first = hidden_layer(nn.Linear(latent + 6, widths[0]), widths[0], norm, nn.ReLU())
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
    """J_0(x), which torch has and ONNX has not."""

    def forward(self, x):
        return torch.special.bessel_j0(x)


class Waves(Plain):
    """An operator that ONNX lacks, in layer `between`."""

    def middle(self):
        return Bessel()


class Moody(Plain):
    """Branches on its input, which no traced graph does."""

    def forward(self, latent, condition=None):
        x = super().forward(latent, condition)
        return x if x.sum() > 0 else -x


class Counting(Plain):
    """Uses the size of its batch as a constant."""

    def forward(self, latent, condition=None):
        x = super().forward(latent, condition)
        return x + torch.zeros(len(x), 1, 1, 1)


class Noise(nn.Module):
    """x + N(0, 1): random numbers of torch's global generator."""

    def forward(self, x):
        return x + torch.randn_like(x)


class Noisy(Plain):
    """Draws noise in layer `between`, in evaluation mode too."""

    def middle(self):
        return nn.Sequential(nn.ReLU(), Noise())


class Dropping(Plain):
    """Drops out in layer `between`."""

    def middle(self):
        return nn.Dropout(0.5)


class Styled(Plain):
    """Adds noise from a part of the latent."""

    def __init__(self, latent, shape, **settings):
        super().__init__(latent - 8, shape, **settings)

    def forward(self, latent, condition=None):
        x = self.first(latent["z"]) + 3 * latent["noise"]
        return torch.tanh(self.last(x)).unflatten(1, self.shape)


class Translator(nn.Module):
    """source [N, C, H, W] -> the shape of source, without a latent."""

    def __init__(self, latent, shape, **settings):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(shape[0], 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, shape[0], 3, padding=1)
        )

    def forward(self, x, condition=None):
        return torch.tanh(self.layers(x))


class Pairs(Digits):
    """Digits, with the mirrored negative of each as column `source`."""

    def splits(self):
        splits = super().splits()
        return {name: Split(name, s.x, s.y, 10, {"source": 255 - s.x.flip(3)}) for name, s in splits.items()}
