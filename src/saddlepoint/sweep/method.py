"""How a search proposes trials and which it gives up early: Optuna's samplers and pruners by a word each.

tpe     tree-structured Parzen estimator      Bergstra et al. 2011, Algorithms for Hyper-Parameter Optimization
cmaes   covariance matrix adaptation          Hansen 2016 (arXiv:1604.00772)
random  independent draws                     Bergstra & Bengio 2012, JMLR 13
grid    every combination once
median  stop below the median of others       Golovin et al. 2017, Google Vizier
hyperband                                     Li et al. 2018 (arXiv:1603.06560)
halving                                       Jamieson & Talwalkar 2016 (arXiv:1502.07943)
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from saddlepoint.error import Mistake, did_you_mean
from saddlepoint.sweep.space import Dimension, Range

if TYPE_CHECKING:
    import optuna
    from optuna.pruners import BasePruner
    from optuna.samplers import BaseSampler

SAMPLERS = {"tpe": "TPESampler", "cmaes": "CmaEsSampler", "random": "RandomSampler", "grid": "GridSampler"}
PRUNERS = {
    "median": "MedianPruner",
    "percentile": "PercentilePruner",
    "threshold": "ThresholdPruner",
    "halving": "SuccessiveHalvingPruner",
    "hyperband": "HyperbandPruner",
}
OURS = {"seed", "search_space", "x0", "source_trials", "independent_sampler", "gamma", "weights", "constraints_func"}
AT_ONCE = {"n_startup_trials": 1, "n_warmup_steps": 0}  # settings by which a method waits
TRIED, STEPS = 12, (1, 2, 1_000_000_000)  # trials and steps by which a method is tried; TPE waits for ten of itself
SPACE = (Range("x", 0.0, 1.0, step=0.125), Range("y", 0.0, 1.0, step=0.125))
GOLDEN = 0x9E3779B1  # a multiplier that spreads neighbouring numbers (Knuth, TAOCP 3, 6.4)


@dataclass(frozen=True)
class Method:
    """A sampler or a pruner: its name, its settings, and of a sampler the seed."""

    name: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0


def parse_method(kind: str, said: Any) -> Method | None:
    """The method that a word says, or {name: word, setting: value, ...}; None for null and none.

    `kind` is sampler or pruner.  Raises Mistake for a word, a setting or a seed that there is none of.
    """
    settings = dict(said) if isinstance(said, Mapping) else {"name": said}
    name, seed = settings.pop("name", None), settings.pop("seed", 0) if kind == "sampler" else 0
    known = SAMPLERS if kind == "sampler" else PRUNERS
    if kind == "pruner" and name in (None, "none"):
        return None
    if not isinstance(name, str) or name not in known:
        raise Mistake(f"no such {kind}: {name}.{did_you_mean(str(name), known)} There are: {', '.join(known)}")
    if type(seed) is not int or seed < 0:
        raise Mistake(f"sampler.seed={seed}: a whole number from 0 on")
    found = Method(name, settings, seed)
    if kind == "pruner":
        build_pruner(found, 1, STEPS[-1])
    else:
        _try(kind, found, lambda at_once: build_sampler(replace(found, settings={**settings, **at_once}), SPACE, 0))
    return found


def build_sampler(method: Method, space: Sequence[Dimension], number: int) -> BaseSampler:
    """The sampler that proposes trial `number`.

    Each trial has its own, with a seed that follows from its number: what is proposed depends on the trials before it
    and not on which process asks, so a search that was killed goes on as it would have gone, and two workers never draw
    the same numbers. A grid is dealt out by number in one shuffled order.
    """
    if method.name == "grid":
        values = {dimension.key: list(dimension.values or ()) for dimension in space}
        return _built("sampler", method, {"search_space": values, "seed": method.seed})
    return _built("sampler", method, {"seed": (method.seed * GOLDEN + number) % 2**32})


def build_pruner(method: Method | None, between: int, images: int) -> BasePruner:
    """The pruner of runs of so many images, scored every `between`; its steps are images.  None never prunes."""
    from optuna.pruners import NopPruner

    if method is None:
        return NopPruner()
    least = {"min_resource": between} if method.name in ("halving", "hyperband") else {}
    most = {"max_resource": images} if method.name == "hyperband" else {}
    given = {**least, **most, **method.settings}
    _try("pruner", method, lambda at_once: _built("pruner", method, {**given, **at_once}))
    return _built("pruner", method, given)


def _try(kind: str, method: Method, built: Callable[[Mapping[str, int]], Any]) -> None:
    """Play in memory by a method as it is said, and as if it waited for nothing: Optuna looks at most settings late.

    Raises Mistake where that fails.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    for at_once in ({}, {key: value for key, value in AT_ONCE.items() if key in method.settings}):
        one = built(at_once)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                _play(optuna.create_study(**{kind: one}))
        except Exception as error:  # whatever Optuna's code runs into
            said = " ".join(str(error).split()) or type(error).__name__
            raise Mistake(f"{kind} {method.name} fails with {dict(method.settings)}: {said}") from None


def _play(study: optuna.Study) -> None:
    """Trials enough for a sampler to model and a pruner to compare."""
    for number in range(TRIED):
        trial = study.ask()
        for one in SPACE:
            trial._suggest(one.key, one.distribution)
        for step in STEPS:
            trial.report(float(number), step)
            trial.should_prune()
        study.tell(trial, float(number))


def _built(kind: str, method: Method, given: Mapping[str, Any]) -> Any:
    """Optuna's object.  Raises Mistake for a setting that it does not take."""
    import optuna

    module = optuna.samplers if kind == "sampler" else optuna.pruners
    target = getattr(module, (SAMPLERS if kind == "sampler" else PRUNERS)[method.name])
    known = sorted(set(inspect.signature(target).parameters) - OURS)
    for key in method.settings:
        if key not in known:
            raise Mistake(f"{kind} {method.name} takes no {key}.{did_you_mean(key, known)} It takes {', '.join(known)}")
    quiet = {"warn_independent_sampling": False} if method.name == "cmaes" else {}  # of choices it draws alone
    if method.name == "grid":  # one that does not end the study itself, which Optuna allows in its own loop alone
        target = type(target.__name__, (target,), {"after_trial": lambda self, study, trial, state, values: None})
    try:
        return target(**{**quiet, **method.settings, **given})
    except (ValueError, TypeError) as error:
        raise Mistake(f"{kind} {method.name}: {' '.join(str(error).split())}") from None
