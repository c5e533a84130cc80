"""Token sequences of a known distribution: an LSTM whose parameters are standard normal, with exact likelihoods.

Yu et al. 2017 (SeqGAN, arXiv:1609.05473), section 5.1: embedding and hidden state of 32 numbers, every parameter from
N(0, 1), 20 tokens of 5,000 symbols, a start token 0, 10,000 training sequences.  Their parameters are a file; here
`draw` is the seed of the parameters and of the sequences, so the entropy differs a little from theirs.

The parameters and likelihoods are float64.
"""

from collections.abc import Iterable, Iterator
from itertools import count

import torch
from torch import Tensor

from saddlepoint.data.data import Data, Split
from saddlepoint.error import Mistake
from saddlepoint.layer.token_lstm import TokenLSTM
from saddlepoint.modality import Tokens
from saddlepoint.stream import Stream, preserve_random_state
from saddlepoint.turn import Batch

HELD_OUT = 10_000  # sequences of validation, and of test
HIDDEN = 32  # numbers of an embedding, and of the hidden state
CHUNK_NUMBERS = 2_000_000  # of noise at once, 16 MB


class Oracle(Data):
    """x int64 [n, T]; `log_likelihood` is exact.

    number  training sequences, drawn once; the seed of a run shuffles them
    fresh   whether each training batch is drawn anew instead; `number` is then the size of the train split in scores
    """

    name = "oracle"

    def __init__(
        self,
        symbols: int = 200,
        length: int = 20,
        number: int = 10_000,
        fresh: bool = False,
        draw: int = 0,
        shape: Iterable[int] = (20, 200),
        classes: int | None = None,
        extractor: str | None = "identity",
        batch: int = 64,
        seed: int = 0,
    ) -> None:
        for key, value, least in (("symbols", symbols, 2), ("length", length, 1), ("number", number, 1)):
            if value < least:
                raise Mistake(f"data.{key}={value}: must be at least {least}.")
        self.number, self.fresh, self.draw = number, fresh, draw
        self.modality = Tokens([str(symbol) for symbol in range(symbols)], separator=" ")
        super().__init__(shape, classes, extractor, batch, seed)
        self.size = length, symbols
        with preserve_random_state():
            self.network = TokenLSTM(symbols, HIDDEN, HIDDEN).double().requires_grad_(False)
        stream = Stream(draw, "oracle/parameters")
        for parameter in self.network.parameters():
            parameter.copy_(stream.normal(1, *parameter.shape)[0])

    def log_likelihood(self, x: Tensor) -> Tensor:
        """Return log p(x) in nats for x in stored form, int64 [n, T]: float64 [n]."""
        return torch.cat([self.network.log_probabilities(rows).sum(1) for rows in x.cpu().split(1_000)])

    def splits(self) -> dict[str, Split]:
        sizes = {"train": self.number, "validation": HELD_OUT, "test": HELD_OUT}
        return {
            name: Split(name, self._draw_sequences(n, Stream(self.draw, f"oracle/{name}"))) for name, n in sizes.items()
        }

    def training_batches(self, start: int = 0, rank: int = 0, world_size: int = 1) -> Iterator[Batch]:
        """Yield this rank's slice of each global batch, from image `start` on; with `fresh`, of new sequences."""
        stored = super().training_batches(start, rank, world_size)  # raises Mistake if the batch does not divide
        if not self.fresh:
            return stored
        n = self.batch // world_size
        streams = (Stream(self.seed, f"oracle/fresh/{images}") for images in count(start, self.batch))
        drawn = (self._draw_sequences(self.batch, stream)[rank * n : (rank + 1) * n] for stream in streams)
        return (Batch(self.modality.to_float(x.to(self.device))) for x in drawn)

    def _draw_sequences(self, n: int, stream: Stream) -> Tensor:
        """Return n sequences, int64 [n, T]."""
        rows = max(1, CHUNK_NUMBERS // (self.size[0] * self.size[1]))
        sizes = [min(rows, n - first) for first in range(0, n, rows)]
        return torch.cat([self.network.sample(stream.gumbel(size, *self.size).double())[0] for size in sizes])
