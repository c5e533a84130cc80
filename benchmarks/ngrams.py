"""n-gram models of data=names: nats per name, and shares of samples that are in the training and test splits.

    python benchmarks/ngrams.py <folder of names.txt> [samples]

The table of docs/text.md, with 100,000 samples; the anchors of a run on data=names have as many as the run, 3,000.
"""

import sys

import torch

from saddlepoint.data.names import Names
from saddlepoint.metric.exact_match import ExactMatch
from saddlepoint.metric.ngram import NGram

data, samples = Names(root=sys.argv[1]), int(sys.argv[2]) if sys.argv[2:] else 3_000
metric = ExactMatch(order=5)
metric.setup(data)
train, test = (data.split(name)[torch.arange(len(data.split(name)))][0] for name in ("train", "test"))
print("order   nats per name   in train   in test   distinct")
for order, (name, shares) in enumerate(metric.anchor_scores(samples).items(), 2):
    nats = -NGram(order, data.shape[1], 0).fit(train).log_probabilities(test).sum(1).mean()
    print(f"{name}   {nats:13.2f}" + "".join(f"{shares[key].value:11.4f}" for key in ("train", "held_out", "distinct")))
