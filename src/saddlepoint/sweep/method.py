"""Samplers, which propose trials, and pruners, which stop trials early: Optuna's, by name.

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
# arguments of Optuna's classes that are set here, or cannot be written in yaml
RESERVED = {
    "seed", "search_space", "x0", "source_trials", "independent_sampler", "gamma", "weights", "constraints_func",
}  # fmt: skip
NO_DELAY = {"n_startup_trials": 1, "n_warmup_steps": 0}  # settings that delay the first decision of a method
DRY_RUN_TRIALS, DRY_RUN_STEPS = 12, (1, 2, 1_000_000_000)  # TPE's model starts after ten trials by default
DRY_RUN_SPACE = (Range("x", 0.0, 1.0, step=0.125), Range("y", 0.0, 1.0, step=0.125))
GOLDEN = 0x9E3779B1  # a multiplier that spreads neighbouring numbers (Knuth, TAOCP 3, 6.4)


@dataclass(frozen=True)
class Method:
    """A sampler or a pruner: its name and its settings, and the seed of a sampler."""

    name: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0


def parse_method(kind: str, value: Any) -> Method | None:
    """Return the method for a name, or for {name: ..., setting: value, ...}; None for a pruner of null or none.

    `kind` is sampler or pruner.  Raises Mistake for an unknown name or setting, or an invalid value.
    """
    settings = dict(value) if isinstance(value, Mapping) else {"name": value}
    name, seed = settings.pop("name", None), settings.pop("seed", 0) if kind == "sampler" else 0
    known = SAMPLERS if kind == "sampler" else PRUNERS
    if kind == "pruner" and name in (None, "none"):
        return None
    if not isinstance(name, str) or name not in known:
        raise Mistake(f"no such {kind}: {name}.{did_you_mean(str(name), known)} There are: {', '.join(known)}")
    if type(seed) is not int or seed < 0:
        raise Mistake(f"sampler.seed={seed} must be an integer from 0 on")
    method = Method(name, settings, seed)
    if kind == "pruner":
        build_pruner(method, 1, DRY_RUN_STEPS[-1])
        return method

    def build(changes: Mapping[str, int]) -> BaseSampler:
        return build_sampler(replace(method, settings={**settings, **changes}), DRY_RUN_SPACE, 0)

    _dry_run(kind, method, build)
    return method


def build_sampler(method: Method, space: Sequence[Dimension], number: int) -> BaseSampler:
    """Return the sampler that proposes trial `number`.

    Each trial has its own sampler, with a seed that follows from its number. A proposal therefore depends on the
    earlier trials and not on the process: a search that was killed continues as it would have, and two workers never
    draw the same numbers. A grid is assigned to trials by number, in one shuffled order.
    """
    if method.name == "grid":
        values = {dimension.key: list(dimension.values or ()) for dimension in space}
        return _build_optuna_object("sampler", method, {"search_space": values, "seed": method.seed})
    return _build_optuna_object("sampler", method, {"seed": (method.seed * GOLDEN + number) % 2**32})


def build_pruner(method: Method | None, images_between: int, images: int) -> BasePruner:
    """Return the pruner for runs of `images` images that are scored every `images_between`; None never prunes.

    The pruner's steps are images.
    """
    from optuna.pruners import NopPruner

    if method is None:
        return NopPruner()
    smallest = {"min_resource": images_between} if method.name in ("halving", "hyperband") else {}
    largest = {"max_resource": images} if method.name == "hyperband" else {}
    arguments = {**smallest, **largest, **method.settings}
    _dry_run("pruner", method, lambda changes: _build_optuna_object("pruner", method, {**arguments, **changes}))
    return _build_optuna_object("pruner", method, arguments)


def _dry_run(kind: str, method: Method, build: Callable[[Mapping[str, int]], Any]) -> None:
    """Run trials in memory, with the method's settings and without its delays: Optuna validates most settings late.

    Raises Mistake if that fails.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    for changes in ({}, {key: value for key, value in NO_DELAY.items() if key in method.settings}):
        optuna_object = build(changes)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                _run_dummy_trials(optuna.create_study(**{kind: optuna_object}))
        except Exception as error:  # any exception of Optuna's code
            message = " ".join(str(error).split()) or type(error).__name__
            raise Mistake(f"{kind} {method.name} fails with {dict(method.settings)}: {message}") from None


def _run_dummy_trials(study: optuna.Study) -> None:
    """Run enough trials for a sampler to fit its model and for a pruner to compare."""
    for number in range(DRY_RUN_TRIALS):
        trial = study.ask()
        for dimension in DRY_RUN_SPACE:
            trial._suggest(dimension.key, dimension.distribution)
        for step in DRY_RUN_STEPS:
            trial.report(float(number), step)
            trial.should_prune()
        study.tell(trial, float(number))


def _build_optuna_object(kind: str, method: Method, arguments: Mapping[str, Any]) -> Any:
    """Return Optuna's object.  Raises Mistake for an unknown setting or an invalid value."""
    import optuna

    module = optuna.samplers if kind == "sampler" else optuna.pruners
    target = getattr(module, (SAMPLERS if kind == "sampler" else PRUNERS)[method.name])
    known = sorted(set(inspect.signature(target).parameters) - RESERVED)
    for key in method.settings:
        if key not in known:
            raise Mistake(f"{kind} {method.name} takes no {key}.{did_you_mean(key, known)} It takes {', '.join(known)}")
    # CMA-ES warns about choices, which it draws independently
    quiet = {"warn_independent_sampling": False} if method.name == "cmaes" else {}
    if method.name == "grid":  # Optuna's stops the study at its end, which is allowed only in Optuna's own loop
        target = type(target.__name__, (target,), {"after_trial": lambda self, study, trial, state, values: None})
    try:
        return target(**{**quiet, **method.settings, **arguments})
    except (ValueError, TypeError) as error:
        raise Mistake(f"{kind} {method.name}: {' '.join(str(error).split())}") from None
