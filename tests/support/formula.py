"""Searches whose trials evaluate a formula, without any training."""

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
    """0 at the optimum, rate = 0.01 and every = 3; kind b adds 1."""
    height = math.log10(params.get("rate", BEST["rate"]) / BEST["rate"]) ** 2
    return height + (params.get("every", 3) - 3) ** 2 / 4 + (params.get("kind") == "b")


def plan(*space, trials=10, sampler="random", metric="fid", seeds=(0,), pruner=None, name="bowl", overrides=()):
    """Return a search for the minimum of the bowl."""
    return Plan(
        name, space or (RATE,), parse_metric(metric), parse_method("sampler", sampler), parse_method("pruner", pruner),
        tuple(seeds), trials, tuple(overrides),
    )  # fmt: skip


def study(folder, search_plan, storage="journal", between=1, images=4):
    """Return the study of a plan; journal storage is faster on slow disks."""
    return Study(folder, search_plan, build_pruner(search_plan.pruner, between, images), storage)


class Formula:
    """An attempt that has one more score of its curve at each poll, and then ends."""

    def __init__(self, result, curve=()):
        self.result, self.remaining, self.scores, self.stopped = result, list(curve), {}, False

    def curve(self):
        return dict(self.scores)

    def poll(self):
        if self.stopped or not self.remaining:
            return self.result
        self.scores.update([self.remaining.pop(0)])
        return None

    def request_stop(self):
        self.stopped = True


def start(number, params, seed, slot):
    """Start an attempt whose result is that of the bowl, for any seed."""
    return Formula(AttemptResult(bowl(params)))


def search(folder, search_plan, start=start, storage="journal", **settings):
    """Run all trials of a plan; return the study."""
    result = study(folder, search_plan, storage)
    run_trials(result, start, pause=0, **settings)
    return result
