"""Searches whose trials are formulas: a score without a training."""

import math

from saddlepoint.sweep.method import build_pruner, parse_method
from saddlepoint.sweep.plan import Plan, parse_metric
from saddlepoint.sweep.space import Choice, Range
from saddlepoint.sweep.study import Study
from saddlepoint.sweep.worker import AttemptResult, run_trials

RATE = Range("rate", 1e-4, 1.0, log=True)
EVERY = Range("every", 1, 5)
KIND = Choice("kind", {"a": ("kind=a",), "b": ("kind=b",)})
BEST = {"rate": 1e-2, "every": 3}


def bowl(params):
    """0 at the planted optimum, rate = 0.01 and every = 3; kind b costs 1."""
    height = math.log10(params.get("rate", BEST["rate"]) / BEST["rate"]) ** 2
    return height + (params.get("every", 3) - 3) ** 2 / 4 + (params.get("kind") == "b")


def plan(*space, trials=10, sampler="random", metric="fid", seeds=(0,), pruned=None, name="bowl", words=()):
    """A search for the bottom of the bowl."""
    return Plan(
        name, space or (RATE,), parse_metric(metric), parse_method("sampler", sampler), parse_method("pruner", pruned), tuple(seeds),
        trials, tuple(words),
    )  # fmt: skip


def study(folder, search, storage="journal", between=1, images=4):
    """Its study; journal storage, which is quicker where a disk is slow."""
    return Study(folder, search, build_pruner(search.pruner, between, images), storage)


class Formula:
    """An attempt that has one more score of its curve at each look, and then ends."""

    def __init__(self, ended, curve=()):
        self.result, self.left, self.shown, self.stopped = ended, list(curve), {}, False

    def curve(self):
        return dict(self.shown)

    def poll(self):
        if self.stopped or not self.left:
            return self.result
        self.shown.update([self.left.pop(0)])
        return None

    def stop(self):
        self.stopped = True


def start(number, params, seed, place):
    """The bowl, of any seed."""
    return Formula(AttemptResult(bowl(params)))


def search(folder, asked, begin=start, storage="journal", **settings):
    """The study after it was played."""
    found = study(folder, asked, storage)
    run_trials(found, begin, pause=0, **settings)
    return found
