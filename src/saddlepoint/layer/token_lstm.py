"""An LSTM over tokens: the distribution of each token given those before it.

    h_t = LSTM(h_(t-1), embedding(x_(t-1))),   logits_t = W h_t + b,   x_0 = symbol 0

    log p(x) = sum_t log softmax(logits_t / temperature)[x_t]
    x_t      = argmax(logits_t / temperature + g_t),   g_t standard Gumbel: an exact sample of the softmax

Hochreiter & Schmidhuber 1997; Gumbel 1954, as in Maddison et al. 2016 (arXiv:1611.00712), section 2.1.
"""

import torch
from torch import Tensor, nn


class TokenLSTM(nn.Module):
    """Sequences of T tokens of V symbols, the first of which follows symbol 0.

    end  the symbol that ends a sequence: after it every token is `end` with probability 1; None: no symbol does
    """

    def __init__(self, symbols: int, embedding: int = 32, hidden: int = 32, end: int | None = None) -> None:
        super().__init__()
        self.embedding = nn.Embedding(symbols, embedding)
        self.lstm = nn.LSTM(embedding, hidden, batch_first=True)
        self.linear = nn.Linear(hidden, symbols)
        self.end = end

    def log_probabilities(self, tokens: Tensor, temperature: float = 1.0) -> Tensor:
        """Return log p(x_t | x_1 ... x_(t-1)) for tokens int64 [N, T]: [N, T]."""
        previous = torch.cat([torch.zeros_like(tokens[:, :1]), tokens[:, :-1]], 1)
        logits = self.linear(self.lstm(self.embedding(previous))[0]) / temperature
        if self.end is not None:
            ended = (tokens[:, :-1] == self.end).cumsum(1) > 0  # not of `previous`, which starts with symbol 0
            logits = self._after_end(logits, nn.functional.pad(ended, (1, 0)))
        return logits.log_softmax(-1).gather(-1, tokens[..., None])[..., 0]

    def sample(self, noise: Tensor, temperature: float = 1.0) -> tuple[Tensor, Tensor, Tensor]:
        """Return tokens int64 [N, T], logits / temperature + noise [N, T, V], and the tokens' log p [N, T].

        noise  [N, T, V], standard Gumbel
        Gradients reach the logits of each position, not through the tokens that later positions are given.
        """
        token = torch.zeros(noise.shape[0], dtype=torch.int64, device=noise.device)
        ended = torch.zeros_like(token, dtype=torch.bool)
        hidden = cell = noise.new_zeros(noise.shape[0], self.lstm.hidden_size)
        weights = list(
            self.lstm.parameters()
        )  # a step of nn.LSTM, whose own call costs four times as much for one token
        tokens, perturbed, log_probabilities = [], [], []
        for gumbel in noise.unbind(1):
            hidden, cell = torch.lstm_cell(self.embedding(token), (hidden, cell), *weights)
            logits = self._after_end(self.linear(hidden) / temperature, ended)
            perturbed.append(logits + gumbel)
            token = perturbed[-1].argmax(-1)
            log_probabilities.append(logits.log_softmax(-1).gather(-1, token[:, None])[:, 0])
            tokens.append(token)
            ended = ended | (token == self.end)
        return torch.stack(tokens, 1), torch.stack(perturbed, 1), torch.stack(log_probabilities, 1)

    def _after_end(self, logits: Tensor, ended: Tensor) -> Tensor:
        """Return logits [..., V], replaced where `ended` [...] by those of a certain `end`."""
        if self.end is None:
            return logits
        certain = logits.new_full(logits.shape[-1:], -torch.inf)
        certain[self.end] = 0
        return torch.where(ended[..., None], certain, logits)
