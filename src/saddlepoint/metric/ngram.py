"""An n-gram model of tokens with Witten-Bell interpolation, fitted by counting.

    p_k(w | h) = (c(h w) + u(h) p_(k-1)(w | h')) / (c(h) + u(h)),   p_0 = 1 / V

h: the k - 1 tokens before w (symbol 0 before the first), h': h without its first token, c: counts, u(h): the number of
different tokens after h; p_k = p_(k-1) if h was not seen.  Witten & Bell 1991; Chen & Goodman 1998, section 2.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from saddlepoint.extractor.data_like import SplitLike
from saddlepoint.modality import Tokens, modality_of
from saddlepoint.modality.tokens import PADDING

LARGEST = 2**62  # contexts are numbered in base V


class NGram:
    """A model of order `order` over `symbols` symbols.  end: the symbol that ends a sequence, or None.

    Raises ValueError if the contexts cannot be numbered in 63 bits.
    """

    def __init__(self, order: int, symbols: int, end: int | None = None) -> None:
        if order < 1 or symbols**order > LARGEST:
            raise ValueError(f"order={order} must be at least 1, and {symbols} to its power at most 2^62")
        self.order, self.symbols, self.end = order, symbols, end

    def fit(self, x: Tensor) -> "NGram":
        """Count the tokens of sequences x, int64 [n, T]; return the model."""
        tokens = x.numpy()
        counted = self.counted(tokens)
        self.tables = []
        for context in self._contexts(tokens)[: self.order]:
            grams, counts = np.unique((context * self.symbols + tokens)[counted], return_counts=True)
            contexts, first, followers = np.unique(grams // self.symbols, return_index=True, return_counts=True)
            self.tables.append((grams, counts, contexts, np.add.reduceat(counts, first), followers))
        return self

    def log_probabilities(self, x: Tensor) -> np.ndarray:
        """Return log p of each token of x, int64 [n, T], given those before it: float64 [n, T]; 0 after the end."""
        tokens = x.numpy()
        return np.where(self.counted(tokens), np.log(self._probabilities(self._contexts(tokens), tokens)), 0.0)

    def nats_per_token(self, x: Tensor) -> float:
        """Return -log p of sequences x, int64 [n, T], over the number of their tokens, ends included."""
        return float(-self.log_probabilities(x).sum() / self.counted(x.numpy()).sum())

    def sample(self, uniform: np.ndarray) -> np.ndarray:
        """Return sequences, int64 [n, T], for uniform numbers [n, T] in [0, 1): by the inverse of the distribution."""
        tokens = np.zeros(uniform.shape, dtype=np.int64)
        every = np.arange(self.symbols)
        for t in range(uniform.shape[-1]):
            contexts = [context[:, t, None] for context in self._contexts(tokens)]
            total = self._probabilities(contexts, np.broadcast_to(every, (len(tokens), self.symbols))).cumsum(1)
            tokens[:, t] = (total < uniform[:, t, None] * total[:, -1:]).sum(1)
        if self.end is not None:
            tokens[~self.counted(tokens)] = self.end
        return tokens

    def counted(self, tokens: np.ndarray) -> np.ndarray:
        """Whether each of the tokens [n, T] is part of its sequence: those up to the first `end`, included."""
        if self.end is None:
            return np.ones(tokens.shape, dtype=bool)
        ended = (tokens == self.end).cumsum(1) > 0
        return ~np.pad(ended[:, :-1], ((0, 0), (1, 0)))

    def _contexts(self, tokens: np.ndarray) -> list[np.ndarray]:
        """Return the number of the k tokens before each token, for k = 0 ... order - 1: [n, T] each."""
        contexts = [np.zeros_like(tokens)]
        for k in range(1, self.order):
            earlier = np.pad(tokens, ((0, 0), (k, 0)))[:, : tokens.shape[1]]
            contexts.append(contexts[-1] + earlier * self.symbols ** (k - 1))
        return contexts

    def _probabilities(self, contexts: list[np.ndarray], tokens: np.ndarray) -> np.ndarray:
        p = np.full(tokens.shape, 1 / self.symbols)
        for context, (grams, counts, seen, totals, followers) in zip(contexts, self.tables, strict=True):
            c = _look_up(context * self.symbols + tokens, grams, counts)
            total, u = _look_up(context, seen, totals), _look_up(context, seen, followers)
            p = np.where(total > 0, (c + u * p) / np.maximum(total + u, 1), p)
        return p


def _look_up(keys: np.ndarray, table: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return the value of each key in a sorted table, 0 if it is not there."""
    place = np.searchsorted(table, keys).clip(max=len(table) - 1)
    return np.where(table[place] == keys, values[place], 0)


def all_rows(split: SplitLike) -> Tensor:
    """Return all samples of a split, as stored."""
    return split[torch.arange(len(split))][0]


def fits(order: int, symbols: int) -> bool:
    """Whether contexts of this order can be numbered."""
    return symbols**order <= LARGEST


def token_numbers(data: Any) -> tuple[tuple[int, int | None], str | None]:
    """Return the number of symbols of the data, and the symbol that ends a sample (padding, or None); or why not."""
    modality = modality_of(data)
    if not isinstance(modality, Tokens):
        return (0, None), f"it measures tokens, and these data are {modality.plural}"
    end = modality.vocabulary.index(PADDING) if PADDING in modality.vocabulary else None
    return (len(modality.vocabulary), end), None
