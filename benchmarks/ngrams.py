"""n-gram models of data=names: nats per name, and shares of samples that are in the training and test splits.

    python benchmarks/ngrams.py <folder of names.txt>

The table of docs/text.md.
"""

import sys

import torch

from saddlepoint.data.names import Names
from saddlepoint.metric.exact_match import ExactMatch
from saddlepoint.metric.ngram import NGram

data = Names(root=sys.argv[1])
metric = ExactMatch(order=5)
metric.setup(data)
train, test = (data.split(name)[torch.arange(len(data.split(name)))][0] for name in ("train", "test"))
print("order   nats per name   in train   in test   distinct")
for order, (name, shares) in enumerate(metric.anchor_scores(3_000).items(), 2):
    nats = -NGram(order, data.shape[1], 0).fit(train).log_probabilities(test).sum(1).mean()
    print(
        f"{name}   {nats:13.2f}" + "".join(f"{float(shares[key]):11.4f}" for key in ("train", "held_out", "distinct"))
    )
