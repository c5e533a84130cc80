"""An LSTM generator and a small CNN discriminator of tokens, [N, T, V]: T positions with V symbols.

The generator takes Gumbel noise as its latent (prior=gumbel), so that the tokens are a function of latent and weights.
The discriminator computes one logit from each of `representations` embeddings: Nie et al. 2019 (RelGAN, ICLR),
section 2.3; convolutions and maxima over time as in Kim 2014 (arXiv:1408.5882). Without highway layer and dropout.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot, relu

from saddlepoint.architecture import discriminator
from saddlepoint.error import Mistake
from saddlepoint.layer.token_lstm import TokenLSTM
from saddlepoint.turn import UNCONDITIONAL, Condition, DiscriminatorOutput


class Generator(nn.Module):
    """Gumbel noise [N, T V] -> tokens [N, T, V] and their log-probabilities [N, T], the side's `extra_output`.

    Given tokens [N, T, V] in place of the latent, it returns them with their log-probabilities.
    Raises Mistake if the latent has another size.

    end          the symbol after which every token is the same (0, the padding of text), or None
    temperature  the logits are divided by it: below 1, likely tokens become likelier
    relaxation   None: one-hot tokens, without a gradient. A number, or a schedule of it: softmax((logits + g) /
                 relaxation), its largest entry is the token (Jang et al. 2016, arXiv:1611.01144; Maddison et al. 2016,
                 arXiv:1611.00712). Later positions are given the token itself, not the relaxed one, as in RelGAN, whose
                 beta is 1 / relaxation
    """

    modality = "tokens"

    def __init__(
        self,
        shape: Sequence[int],
        embedding: int = 32,
        hidden: int = 32,
        end: int | None = None,
        temperature: float = 1.0,
        relaxation: float | Callable[[int], float] | None = None,
    ) -> None:
        super().__init__()
        self.length, self.symbols = _check_shape(shape)
        if temperature <= 0:
            raise Mistake(f"architecture.generator.temperature={temperature} must be above 0")
        if end is not None and not 0 <= end < self.symbols:
            raise Mistake(f"architecture.generator.end={end}: the data have symbols 0 to {self.symbols - 1}")
        self.network = TokenLSTM(self.symbols, embedding, hidden, end)
        self.end, self.temperature, self.relaxation = end, temperature, relaxation
        self.at_images(0)

    def at_images(self, images: int) -> None:
        """Set the relaxation after `images` images."""
        self.current_relaxation = self.relaxation(images) if callable(self.relaxation) else self.relaxation

    def forward(
        self, latent: Mapping[str, Tensor] | Tensor, condition: Condition = UNCONDITIONAL
    ) -> tuple[Tensor, Tensor]:
        """Return x [N, T, V] and log-probabilities [N, T]: of samples for latent parts, of the given x for a tensor."""
        if isinstance(latent, Tensor):
            return latent, self.network.log_probabilities(latent.argmax(-1), self.temperature)
        noise = torch.cat(list(latent.values()), 1)
        if noise.shape[1] != self.length * self.symbols:
            raise Mistake(
                f"architecture.generator takes {self.length} x {self.symbols} numbers of Gumbel noise, but the prior "
                f"has {noise.shape[1]}: set prior=[gumbel]"
            )
        noise = noise.unflatten(1, (self.length, self.symbols))
        tokens, perturbed, log_probabilities = self.network.sample(noise, self.temperature)
        if self.current_relaxation is None:
            return one_hot(tokens, self.symbols).to(noise.dtype), log_probabilities
        return (perturbed / self.current_relaxation).softmax(-1), log_probabilities


class Discriminator(discriminator.Discriminator):
    """[N, T, V] -> embeddings -> convolutions of each size in `kernels`, ReLU, maximum over T -> logits.

    representations  embeddings of `width` numbers, each with a logit from the same convolutions: logits [N, R], or
                     [N] of one. Features are [N, R * filters * len(kernels)]
    Raises Mistake if a kernel is longer than the sequences.
    """

    modality = "tokens"

    def __init__(
        self,
        shape: Sequence[int],
        representations: int = 8,
        width: int = 1,
        filters: int = 64,
        kernels: Sequence[int] = (2, 3, 4, 5),
        **head: Any,
    ) -> None:
        length, symbols = _check_shape(shape)
        if max(kernels) > length:
            raise Mistake(f"architecture.discriminator.kernels={list(kernels)}: the sequences have {length} tokens")
        embedding = _Embeddings(symbols, representations, width)
        super().__init__({"hidden1": nn.Sequential(embedding, _MaxOverTime(width, filters, kernels))},
                         filters * len(kernels), **head)  # fmt: skip
        self.representations = representations

    def forward(self, x: Tensor, condition: Condition = UNCONDITIONAL) -> DiscriminatorOutput:
        """Return logits [N, R], or [N] if R = 1, features [N, R F], and heads, averaged over representations."""
        output = super().forward(x, condition)
        if self.representations == 1:
            return output
        rows = (-1, self.representations)
        return replace(
            output,
            logits=output.logits.unflatten(0, rows),
            features={name: value.unflatten(0, rows).flatten(1) for name, value in output.features.items()},
            heads={name: value.unflatten(0, rows).mean(1) for name, value in output.heads.items()},
        )


class _Embeddings(nn.Module):
    """[N, T, V] -> [N R, width, T]: a linear map of each position, relaxed tokens or one-hot."""

    def __init__(self, symbols: int, representations: int, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(symbols, representations * width, bias=False)
        self.representations = representations
        nn.init.normal_(self.linear.weight)  # as nn.Embedding

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x).transpose(1, 2).unflatten(1, (self.representations, -1)).flatten(0, 1)


class _MaxOverTime(nn.Module):
    """[N, width, T] -> [N, filters * len(kernels)]."""

    def __init__(self, width: int, filters: int, kernels: Sequence[int]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Conv1d(width, filters, kernel) for kernel in kernels)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([relu(layer(x)).amax(2) for layer in self.layers], 1)


def _check_shape(shape: Sequence[int]) -> tuple[int, int]:
    """Return T and V.  Raises Mistake if the data are not sequences of tokens."""
    if len(shape) != 2:
        raise Mistake(f"architecture=recurrent generates tokens, but data.shape is {list(shape)}: use architecture=mlp")
    return shape[0], shape[1]
