"""BLEU of fakes against reals, and self-BLEU of fakes against each other: pictures of quality and of repetition.

    BLEU(y; R) = min(1, exp(1 - r / |y|)) prod_k p_k^(1/K)
    p_k = sum_g min(c_y(g), max_(x in R) c_x(g)) / sum_g c_y(g)

over the k-grams g of y; r: the length in R nearest to |y|, the shorter one in a tie; 0 if some p_k is 0.  Papineni et
al. 2002.  `bleu` is its mean over fakes, with reals of `split` as R; `bleu_self` has all other fakes as R (Zhu et al.
2018, Texygen, arXiv:1802.01886).  Neither decides anything: copies have a high BLEU too, and both depend on the number
of references.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor

from saddlepoint.error import Mistake
from saddlepoint.extractor.data_like import DataLike
from saddlepoint.extractor.extractor import Features
from saddlepoint.metric.metric import Metric
from saddlepoint.metric.ngram import NGram, all_rows, token_numbers

Gram = tuple[int, ...]


class BLEU(Metric):
    """BLEU of sequences of tokens.

    order    K above
    split    the references
    number   how many references, the first of the split; and how many fakes, the first, at least 2
    Raises Mistake for an order below 1, or a number below 2.
    """

    needs_reals = False
    needs_features = False
    uses_anchor_sets = False
    contract_attributes = ("order", "split", "number")

    def __init__(self, order: int = 4, split: str = "test", number: int = 1_000) -> None:
        super().__init__()
        if order < 1 or number < 2:
            raise Mistake(f"metric.bleu: order={order} must be at least 1, and number={number} at least 2")
        self.order, self.split, self.number = order, split, number
        self._data: Any = None
        self.declare_states("fake")

    def setup(self, data: DataLike) -> str | None:
        (symbols, self._end), reason = token_numbers(data)
        self._symbols, self._data = symbols, None if reason else data
        return reason

    def why_not(self, n_real: int, n_fake: int) -> str | None:
        if self._data is None:
            return "it needs the splits of the data"
        return "self-BLEU compares fakes with each other, and needs two at least" if n_fake < 2 else None

    def directions(self) -> dict[str, bool]:
        return {"": True, "self": False}

    def update(self, features: Features, real: bool) -> None:
        if features.x is None:
            raise ValueError("bleu needs samples, and these features have none")
        if not real:
            self.append_rows("fake", features.x)

    def compute(self) -> dict[str, float]:
        """Return both means over the first `number` fakes.  Raises ValueError before `setup`."""
        return self._scores(self.all_rows("fake"))

    def anchor_scores(self, n: int) -> dict[str, Any]:
        """Return the scores of as many training samples as there are fakes, at most."""
        return {"training samples": self._scores(all_rows(self._data.split("train"))[:n])}

    def _scores(self, x: Tensor) -> dict[str, float]:
        if self._data is None:
            raise ValueError("bleu needs the data: call setup(data) first")
        references = all_rows(self._data.split(self.split))[: self.number]
        fakes = self._sentences(x[: self.number])
        real, others = References(self._sentences(references), self.order), References(fakes, self.order)
        return {"": float(np.mean([real.bleu(fake) for fake in fakes])),
                "self": float(np.mean([others.bleu(fake, other=True) for fake in fakes]))}  # fmt: skip

    def _sentences(self, x: Tensor) -> list[Gram]:
        """Return the tokens of each sample, without the end."""
        ends = NGram(1, self._symbols, self._end)
        tokens = x.cpu().numpy()
        return [tuple(t for t in row[counted].tolist() if t != self._end)
                for row, counted in zip(tokens, ends.counted(tokens), strict=True)]  # fmt: skip


class References:
    """The k-grams of all references: of each the two largest counts in one reference, and the lengths."""

    def __init__(self, sentences: Sequence[Gram], order: int) -> None:
        self.order, self.lengths = order, Counter(map(len, sentences))
        self.largest: dict[Gram, tuple[int, int]] = {}
        for sentence in sentences:
            for gram, count in count_grams(sentence, order).items():
                first, second = self.largest.get(gram, (0, 0))
                self.largest[gram] = (count, first) if count > first else (first, max(second, count))

    def bleu(self, sentence: Gram, other: bool = False) -> float:
        """Return the BLEU of a sentence; other: it is one of the references, and is compared with the other ones."""
        size = len(sentence)
        if size < self.order:
            return 0.0
        matches = [0] * self.order
        for gram, count in count_grams(sentence, self.order).items():
            first, second = self.largest.get(gram, (0, 0))
            limit = second if other and count == first else first
            matches[len(gram) - 1] += min(count, limit)
        if min(matches) == 0:
            return 0.0
        lengths = self.lengths - Counter([size]) if other else self.lengths
        nearest = min(lengths, key=lambda length: (abs(length - size), length))
        precision = np.mean([np.log(match / (size - k)) for k, match in enumerate(matches)])
        return float(np.exp(min(0.0, 1 - nearest / size) + precision))


def count_grams(sentence: Gram, order: int) -> Counter[Gram]:
    """Return how often a sentence has each of its k-grams, k = 1 ... order."""
    return Counter(sentence[i : i + k] for k in range(1, order + 1) for i in range(len(sentence) - k + 1))
