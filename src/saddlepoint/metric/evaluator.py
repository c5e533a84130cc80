"""One evaluation: every metric on one pass of the fakes through one extractor, each score with its contract.

    reals -> extractor -> what each metric needs of them, kept on disk under a hash of (data, extractor, settings)
    sample(n) -> uint8 -> extractor -> metrics -> scores

Nothing here draws from torch's global generators, and what `sample` draws from them is undone: to evaluate more often,
or with a cold cache, changes nothing in training.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from saddlepoint.error import Mistake
from saddlepoint.metric.anchor import anchor_sets
from saddlepoint.metric.cache import Cache, Say, digest, log
from saddlepoint.metric.classifier import Progress
from saddlepoint.metric.contract import VERSION, Contract, Score
from saddlepoint.metric.extractor import Extractor, Features, suit, times
from saddlepoint.metric.measure import Measure
from saddlepoint.metric.reals import Data, Split
from saddlepoint.pixel import to_uint8

MOST = 10_000  # fakes where their number is not given: with fewer a distance is mostly bias, with more mostly time


class Evaluator:
    """The scores of samples against a split, by one protocol."""

    def __init__(
        self,
        extractor: Extractor,
        metrics: Mapping[str, Measure],
        n: int | None = None,
        split: str = "train",
        batch: int = 500,
        cache: Path | None = None,
        seed: int = 0,
        device: torch.device | str = "cpu",
        say: Say = log.warning,
        progress: Progress | None = None,
    ) -> None:
        """`n` fakes; None: as many as there are images outside `split`, 10,000 at most, known once a Data is seen."""
        if n is not None and n < 2:
            raise Mistake(f"{n} samples cannot be measured: two at least, and better 1,000.")
        self.device = torch.device(device)
        self.extractor = extractor.to(self.device)
        self.n, self.split, self.batch, self.seed, self.say, self.progress = n, split, batch, seed, say, progress
        self.cache = Cache(cache, say)
        self.metrics: dict[str, Measure] = {}
        for name, metric in metrics.items():
            if metric.needs_logits and extractor.classes is None:
                say(f"{name} is left out: it needs class predictions, and the extractor {extractor.name} makes none.")
                continue
            # an accelerator without float64 (mps) extracts, and the CPU adds up
            self.metrics[name] = metric.to(self.device if self.device.type == "cuda" else "cpu")
            metric.sync_on_compute = False  # each rank measures all fakes
        self._references: dict[str, Mapping[str, Tensor]] = {}  # of the reals, by key
        self._said: set[str] = set()

    def size(self, data: Data) -> int:
        """How many fakes are measured: n; for None, as many as there are images outside the split, 10,000 at most."""
        if self.n is None:
            sizes = data.describe()["sizes"]
            self.n = min(MOST, sum(sizes.values()) - sizes[self.split] or sizes[self.split])
        return self.n

    def __call__(
        self, sample: Callable[[int], Tensor], reals: Split | Data, weights: str = "averaged"
    ) -> dict[str, Score]:
        """Scores by name, of n samples against `reals`: a split, or a data set, whose split `split` is meant.

        `sample(n)` gives n images in [-1, 1] or points, and is asked for `batch` at a time.  `weights` says whose they
        are: "averaged", "raw", "none".  Raises Mistake where samples are not finite or not of the reals' shape.
        """
        with self._apart():
            split = self._split(reals)
            if self.n is None:
                raise ValueError("how many samples? Give Evaluator an n, or a Data instead of a Split")
            n, shape = self.n, tuple(_row(split).shape)

            def fakes() -> Iterator[Tensor]:
                for done in range(0, n, self.batch):
                    x = sample(min(self.batch, n - done))
                    if tuple(x.shape[1:]) != shape:
                        raise Mistake(f"samples have shape {times(x.shape[1:])}, and the data {times(shape)}.")
                    yield x

            return self._scores(self._features(fakes(), n, "samples"), n, split, weights)

    def anchors(self, data: Data) -> dict[str, dict[str, Score]]:
        """The scores of sets that everybody understands (see `anchor`), by set; measured once, then cached."""
        with self._apart():
            n, split = self.size(data), self._split(data)
            held = [data.split(name) for name in data.describe()["sizes"] if name != self.split]

            def measured() -> dict[str, dict[str, Any]]:
                sets = anchor_sets(split, held, data.classes, n, self.batch, self.seed, self._features)
                found = {name: self._scores(features, size, split, "none") for name, size, features in sets}
                return {name: {key: score.to_dict() for key, score in scores.items()} for name, scores in found.items()}

            about = {
                "anchors": VERSION,
                "held": [part.sha256 for part in held],
                "contracts": [self._contract(name, split, n, "none").to_dict() for name in self.metrics],
            }
            kept = self.cache.record("anchors", about, measured)
        return {name: {key: Score.from_dict(score) for key, score in scores.items()} for name, scores in kept.items()}

    def _scores(self, fakes: Iterable[Features], n: int, split: Split, weights: str) -> dict[str, Score]:
        metrics = self._measurable(len(split), n)
        self._refer(metrics, split, n)
        for features in fakes:
            for metric in metrics.values():
                metric.update(features, real=False)
        scores = {}
        for name, metric in metrics.items():
            result = metric.compute()
            value, std = result if isinstance(result, tuple) else (result, None)
            contract = self._contract(name, split, n, weights)
            scores[contract.key] = Score(float(value), contract, None if std is None else float(std))
            metric.reset()  # the features of 10,000 fakes need not stay until the next evaluation
        return scores

    def _measurable(self, n_real: int, n_fake: int) -> dict[str, Measure]:
        """The metrics that such numbers suffice for; of the others a word is said, once."""
        obstacles = {name: metric.obstacle(n_real, n_fake) for name, metric in self.metrics.items()}
        for name, obstacle in obstacles.items():
            if obstacle and name not in self._said:
                self._said.add(name)
                self.say(f"{name} is left out: {obstacle}.")
        return {name: metric for name, metric in self.metrics.items() if not obstacles[name]}

    def _refer(self, metrics: Mapping[str, Measure], split: Split, n: int) -> None:
        """Give each metric what it needs of the reals: from memory, disk, or one pass for all that lack it."""
        about = {name: self._about(metric, split, n) for name, metric in metrics.items() if metric.needs_reals}
        lacking = [name for name in about if digest(about[name]) not in self._references]
        passed = False

        def seen(metric: Measure) -> dict[str, Tensor]:
            nonlocal passed
            if not passed:
                self._pass([metrics[name] for name in lacking], split)
                passed = True
            return metric.reference(n)

        for name in lacking:
            make = partial(seen, metrics[name])
            self._references[digest(about[name])] = self.cache.tensors("statistics", about[name], make)
        for name, metric in metrics.items():
            metric.reset()
            metric.refer(self._references[digest(about[name])] if name in about else None)

    def _pass(self, metrics: Iterable[Measure], split: Split) -> None:
        for metric in metrics:
            metric.reset()
        reals = (x for x, _ in split.batches(self.batch))
        for features in self._features(reals, len(split), f"the {split.name} split"):
            for metric in metrics:
                metric.update(features, real=True)

    def _features(self, batches: Iterable[Tensor], n: int, whose: str) -> Iterator[Features]:
        """The features of n stored samples or floats, batch by batch; raises Mistake where something is not finite."""
        done = 0
        for x in batches:
            suit(self.extractor, tuple(x.shape[1:]))
            if x.is_floating_point():
                x = x.detach().to(torch.float32)
                if not bool(x.isfinite().all()):
                    raise Mistake(f"{whose}: some are not finite (nan or infinite), so there is no score.")
                x = x if x.dim() == 2 else to_uint8(x)
            # half precision is the training's business: a ruler has one
            with torch.autocast(self.device.type, enabled=False):
                features = self.extractor(x.to(self.device))
            if not bool(features.features.isfinite().all()):
                raise Mistake(f"{whose}: the extractor {self.extractor.name} finds features that are not finite.")
            yield features
            done += len(x)
            if self.progress:
                self.progress(f"measuring {whose}", done, n)

    def _about(self, metric: Measure, split: Split, n: int) -> dict[str, Any]:
        """What a reference depends on: the kind of metric, not the name that somebody gave it."""
        return {
            "metric": f"{type(metric).__module__}.{type(metric).__qualname__}",
            "settings": metric.settings(len(split), n),
            "version": VERSION,
            "data": split.sha256,
            "resolution": times(_row(split).shape),
            "resizer": self.extractor.resizer,
            "extractor": self.extractor.sha256,
        }

    def _contract(self, name: str, split: Split, n: int, weights: str) -> Contract:
        return Contract(
            metric=name,
            n_real=len(split),
            n_fake=n,
            split=split.name,
            data=split.sha256,
            resolution=times(_row(split).shape),
            resizer=self.extractor.resizer,
            extractor=self.extractor.name,
            extractor_sha256=self.extractor.sha256,
            weights=weights,
            seed=self.seed,
            settings=self.metrics[name].settings(len(split), n),
        )

    def _split(self, reals: Split | Data) -> Split:
        if isinstance(getattr(reals, "describe", None), Callable):
            self.size(reals)  # pyright: ignore[reportArgumentType]
            return reals.split(self.split)  # pyright: ignore[reportAttributeAccessIssue]
        return reals  # pyright: ignore[reportReturnType]

    @contextmanager
    def _apart(self) -> Iterator[None]:
        """No gradients, and torch's global generators end as they began, whatever a sampler or a loader draws."""
        cuda = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices=cuda), torch.no_grad():
            yield


def _row(split: Split) -> Tensor:
    return split[torch.tensor([0])][0][0]
