"""One evaluation: every metric on one pass of the fakes through one extractor, each score with its contract.

    reals -> extractor -> what each metric needs of them, kept on disk under a hash of (data, extractor, settings)
    fakes -> stored form -> extractor -> metrics -> scores       (8 or 16 bits, tokens: see `saddlepoint.modality`)

Nothing here draws from torch's global generators, and what `sample` draws from them is undone: to evaluate more often,
or with a cold cache, changes nothing in training.
"""

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from saddlepoint import ranks
from saddlepoint.error import Mistake
from saddlepoint.evaluation.anchor import anchor_sets
from saddlepoint.evaluation.contract import VERSION, Contract, Score
from saddlepoint.evaluation.reference_statistics import UNKNOWN_COUNT, ReferenceStatistics
from saddlepoint.extractor.data_like import DataLike, Rows, SplitLike
from saddlepoint.extractor.extractor import Extractor, Features, Progress, check_measurable, format_shape
from saddlepoint.metric.metric import Metric, Result, metric_name
from saddlepoint.modality import Modality, default_modality, infer_modality, modality_of
from saddlepoint.run.storage.cache import Cache, Log, json_sha256, logger
from saddlepoint.stream import preserve_random_state

_OF: Any = torch.backends
BACKENDS = (_OF.cudnn.conv, _OF.cuda.matmul, _OF.mkldnn.conv, _OF.mkldnn.matmul)  # which may round float32 first
Reals = SplitLike | ReferenceStatistics
Fakes = Tensor | Rows  # samples, or (samples, the classes that they were asked for)
MAX_FAKES = 10_000  # fakes where their number is not given: with fewer a distance is mostly bias, with more mostly time
STORED: Mapping[str, Any] = {"weights": "none", "batch_norm": "none"}  # how samples that are there were drawn
PULSE = 5.0  # seconds between two signs that a metric is being computed


class Evaluator:
    """The scores of samples against a split, by one protocol."""

    def __init__(
        self,
        extractor: Extractor,
        metrics: Mapping[str, Metric],
        n: int | None = None,
        split: str = "train",
        batch: int = 500,
        cache: Path | None = None,
        seed: int = 0,
        device: torch.device | str = "cpu",
        log: Log = logger.warning,
        progress: Progress | None = None,
    ) -> None:
        """`n` fakes; None: as many as there are images outside `split`, 10,000 at most, known once a Data is seen."""
        if n is not None and n < 2:
            raise Mistake(f"{n} samples cannot be measured: two at least, and better 1,000.")
        self.device = torch.device(device)
        self.extractor = extractor.to(self.device)
        self.n, self.split, self.batch, self.seed, self.log, self.progress = n, split, batch, seed, log, progress
        self.cache = Cache(cache, log)
        self.metrics: dict[str, Metric] = {}
        for name, metric in metrics.items():
            if metric.needs_logits and extractor.classes is None:
                log(
                    f"{name} is left out: it needs class predictions, and the extractor {extractor.name} makes none. "
                    "evaluation.extractor=trained does of images with classes, or name a classifier of yours by "
                    "{_target_: ...}."
                )
                continue
            # an accelerator without float64 (mps) extracts, and the CPU adds up
            self.metrics[name] = metric.to(self.device if self.device.type == "cuda" else "cpu")
            metric.distributed_available_fn = lambda: False  # each rank sees all features: there is nothing to add up
            metric.extractor_accuracy = getattr(extractor, "accuracy", None)
        self._references: dict[str, Mapping[str, Tensor]] = {}  # of the reals, by key
        self._met: str | None = None  # sha256 of the data that the metrics have met
        self._unfit: dict[str, str] = {}  # metrics that cannot measure those data, and why
        self._said: set[str] = set()

    @property
    def higher_is_better(self) -> dict[str, bool]:
        """Of each score that may come, by its contract's metric."""
        return {
            metric_name(name, suffix): higher
            for name, metric in self.metrics.items()
            for suffix, higher in metric.directions().items()
        }

    def sample_count(self, data: DataLike) -> int:
        """How many fakes are measured: n; for None, as many as there are images outside the split, 10,000 at most."""
        if self.n is None:
            total, reals = sum(data.describe()["sizes"].values()), len(data.split(self.split))
            self.n = min(MAX_FAKES, total - reals or reals)
        return self.n

    def __call__(
        self,
        sample: Callable[[int], Fakes],
        reals: Reals | DataLike,
        weights: str = "averaged",
        batch_norm: str = "running",
        dropout: bool = False,
    ) -> dict[str, Score]:
        """Scores by name, of n samples against `reals`: a split, statistics, or a data set, whose `split` is meant.

        `sample(n)` gives n images in [-1, 1] or points, or these and the classes that they were asked for, and is asked
        for `batch` at a time.  `weights` says whose they are: "averaged", "raw", "none"; `batch_norm` by which
        statistics, `dropout` whether it is on.  Raises Mistake where samples are not finite or not of the reals' shape.
        """
        with self.scoring_context():
            against = self._reals(reals)
            if self.n is None:
                raise ValueError("how many samples? Give Evaluator an n, or a Data instead of a Split")
            fakes = self._drawn(sample, self.n, against)
            drawn = {"weights": weights, "batch_norm": batch_norm, "dropout": dropout}
            return self._scores(fakes, self.n, against, drawn)

    def _drawn(self, sample: Callable[[int], Fakes], n: int, like: Reals | None = None) -> Iterator[Features]:
        """The features of the next n samples, batch by batch, dealt out where `sample.skip` can pass over some."""
        sizes = [min(self.batch, n - done) for done in range(0, n, self.batch)]
        skip = getattr(sample, "skip", None)
        if ranks.world_size() == 1 or skip is None:
            return self._features(map(sample, sizes), n, "samples", like)
        return self._dealt_out(sizes, sample, skip, n, "samples", like)

    def _dealt_out(
        self, parts: Iterable[Any], make: Callable[[Any], Fakes], skip: Callable[[Any], Any], n: int, whose: str,
        like: Reals | None,
    ) -> Iterator[Features]:  # fmt: skip
        """The features of what `make` gives of each part: rank i makes the i-th, i + world-th, ..., and skips others.

        Each gets to see them all, in order, so that every rank has every score, and scores do not depend on how many
        ranks there are.
        """
        queue = iter(parts)
        while group := list(islice(queue, ranks.world_size())):
            made = [make(part) if i == ranks.rank() else skip(part) for i, part in enumerate(group)]
            found = []
            if ranks.rank() < len(group):
                found = [next(self._features([made[ranks.rank()]], n, whose, like)).to("cpu")]
            yield from (features.to(self.device) for part in ranks.all_gather_object(found) for features in part)

    def score_split(self, fakes: SplitLike, reals: Reals | DataLike) -> dict[str, Score]:
        """Scores by name of all stored samples of `fakes` against `reals`, as `__call__` measures a generator's."""
        with self.scoring_context():
            against, n = self._reals(reals), len(fakes)
            if n < 2:
                raise Mistake(f"{fakes.name} holds {n} samples, which cannot be measured: two at least, better 1,000.")
            return self._scores(self._features(fakes.batches(self.batch), n, fakes.name, against), n, against)

    def extract_features(self, batches: Iterable[Fakes], n: int, whose: str) -> Features:
        """The features of all of `batches`, n samples in all, with the samples; for what takes more than one pass."""
        with self.scoring_context():
            return Features.concatenate(self._features(batches, n, whose))

    def sample_features(self, sample: Callable[[int], Fakes], n: int) -> Features:
        """The features of the next n samples, with the samples."""
        with self.scoring_context():
            return Features.concatenate(self._drawn(sample, n))

    def modality_of(self, x: Tensor) -> Modality:
        """That of samples that belong to no split: the data's that the extractor was built for, else what x implies."""
        return self.extractor.modality or (
            default_modality(x.shape[1:]) if x.is_floating_point() else infer_modality(x)
        )

    def metric_results(self, fakes: Features, reals: Features | None, split: SplitLike) -> dict[str, Result]:
        """The metrics of these features, by metric, without contracts; reals None: those of `split`, cached."""
        with self.scoring_context():
            n, n_real = len(fakes.features), len(split) if reals is None else len(reals.features)
            metrics = self._measurable(n_real, n, fakes.y is not None, quiet=reals is not None)
            if reals is None:
                self._refer(metrics, split, n)
            else:
                for metric in metrics.values():
                    metric.reset()
                    metric.set_reference(None)
                    metric.update(reals, real=True)
            results = self._results(metrics, [fakes])
            return {
                metric_name(name, suffix): result for name, own in results.items() for suffix, result in own.items()
            }

    def anchor_scores(self, data: DataLike) -> dict[str, dict[str, Score]]:
        """The scores of sets that everybody understands (see `anchor`), by set; measured once, then cached."""
        with self.scoring_context():
            n, split = self.sample_count(data), cast("SplitLike", self._reals(data))
            sizes, shape = data.describe()["sizes"], _shape(split)
            held = [data.split(name) for name in sizes if name != self.split]
            if self.split not in sizes:  # `all` of them
                held = []
                self._say_once(f"evaluation.split={self.split} holds nothing out: no anchor of held-out reals.")
            shared = [name for name, metric in self.metrics.items() if metric.uses_anchor_sets]

            def measured() -> dict[str, dict[str, Any]]:
                found: dict[str, dict[str, Score]] = {}
                if shared:
                    extract = partial(self._features, like=split)
                    sets = anchor_sets(split, held, data.classes, n, self.batch, self.seed, extract)
                    for name, size, features in sets:
                        found[name] = self._scores(features, size, split, among=shared)
                for name, metric in self._measurable(len(split), n, labelled=True, quiet=True).items():
                    for which, value in metric.anchor_values(n).items():
                        scored = self._scored({name: metric.to_results(value)}, split, n, shape)
                        found[which] = found.get(which, {}) | scored
                return {name: {key: score.to_dict() for key, score in scores.items()} for name, scores in found.items()}

            about = {
                "anchors": VERSION,
                "held": [part.sha256 for part in held],
                "own": {name: metric.anchor_settings() for name, metric in self.metrics.items()},
                "contracts": [self._contract(name, name, split, n, shape).to_dict() for name in self.metrics],
            }
            kept = self.cache.get_json("anchors", about, measured, all_ranks=True)
        return {name: {key: Score.from_dict(score) for key, score in scores.items()} for name, scores in kept.items()}

    def _scores(
        self,
        fakes: Iterable[Features],
        n: int,
        reals: Reals,
        drawn: Mapping[str, Any] = STORED,
        among: Iterable[str] | None = None,
    ) -> dict[str, Score]:
        """The scores of `fakes`, n of them, by the metrics `among`; None: by all.  Every score is made here."""
        parts = iter(fakes)
        first = next(parts)
        metrics = self._measurable(_number(reals), n, first.y is not None, reals=reals)
        metrics = metrics if among is None else {name: metrics[name] for name in among if name in metrics}
        self._refer(metrics, reals, n)
        found = self._results(metrics, chain([first], parts))
        x = cast("Tensor", first.x)
        return self._scored(found, reals, n, self.modality_of(x).sample_shape(x), drawn)

    def _scored(
        self,
        found: Mapping[str, Mapping[str, Result]],
        reals: Reals,
        n: int,
        shape: Sequence[int],
        drawn: Mapping[str, Any] = STORED,
    ) -> dict[str, Score]:
        scores = {}
        for name, results in found.items():
            for suffix, (value, std, detail, own) in results.items():
                contract = self._contract(name, metric_name(name, suffix), reals, own or n, shape, drawn)
                scores[contract.score_name] = Score(float(value), contract, None if std is None else float(std), detail)
        return scores

    def _results(self, metrics: Mapping[str, Metric], fakes: Iterable[Features]) -> dict[str, dict[str, Result]]:
        """What the metrics, whose reals are given, say of `fakes`: by metric and suffix."""
        for features in fakes:
            for metric in metrics.values():
                metric.update(features, real=False)
        found = {name: self._result(name, metric) for name, metric in metrics.items()}
        for metric in metrics.values():
            metric.reset()  # the features of 10,000 fakes need not stay until the next evaluation
        return found

    def _result(self, name: str, metric: Metric) -> dict[str, Result]:
        """What a metric gives; meanwhile `progress` is called every few seconds, since some take minutes."""
        if self.progress is None:
            return metric.results()
        progress, over = self.progress, threading.Event()

        def tell() -> None:
            done = 1
            while not over.wait(PULSE):
                done = 0
                progress(f"computing {name}", 0, 1)
            if not done:
                progress(f"computing {name}", 1, 1)

        pulse = threading.Thread(target=tell, daemon=True)
        pulse.start()
        try:
            return metric.results()
        finally:
            over.set()
            pulse.join()

    def _measurable(
        self, n_real: int, n_fake: int, labelled: bool, quiet: bool = False, reals: Reals | None = None
    ) -> dict[str, Metric]:
        """The metrics that such data and numbers suffice for; unless `quiet`, a word is said of the others, once."""
        kept = {}
        for name, metric in self.metrics.items():
            lacking = reals.why_not(metric) if isinstance(reals, ReferenceStatistics) else self._unfit.get(name)
            obstacle = lacking or metric.why_not(n_real, n_fake)
            if not obstacle and metric.needs_labels and not labelled:
                obstacle = "it needs the class that each sample was asked for, and these samples have none"
            line = f"{name} is left out: {obstacle}." if obstacle else None
            if not obstacle:
                kept[name] = metric
                caution = metric.caution(n_real, n_fake, self.extractor.dim)
                line = f"{name}: {caution}." if caution else None
            if line and not quiet:
                self._say_once(line)
        return kept

    def _say_once(self, line: str) -> None:
        if line not in self._said:
            self._said.add(line)
            self.log(line)

    def _refer(self, metrics: Mapping[str, Metric], reals: Reals, n: int) -> None:
        """Give each metric what it needs of the reals: statistics; or from memory, disk, or one pass for all."""
        if isinstance(reals, ReferenceStatistics):
            for metric in metrics.values():
                metric.reset()
                reals.set_reference_of(metric)
            return
        split = reals
        about = {name: self._about(metric, split, n) for name, metric in metrics.items() if metric.needs_reals}
        lacking = [name for name in about if json_sha256(about[name]) not in self._references]
        passed = False

        def seen(metric: Metric) -> dict[str, Tensor]:
            nonlocal passed
            if not passed:
                self._pass([metrics[name] for name in lacking], split)
                passed = True
            return metric.reference(n)

        for name in lacking:
            make = partial(seen, metrics[name])
            self._references[json_sha256(about[name])] = self.cache.get_tensors(
                "statistics", about[name], make, all_ranks=True
            )
        for name, metric in metrics.items():
            metric.reset()
            metric.set_reference(self._references[json_sha256(about[name])] if name in about else None)

    def _pass(self, metrics: Iterable[Metric], split: SplitLike) -> None:
        for metric in metrics:
            metric.reset()
        whose, n = f"the {split.name} split", len(split)
        if ranks.world_size() == 1:
            parts = self._features(split.batches(self.batch), n, whose, split)
        else:
            rows = torch.arange(n).split(self.batch)
            parts = self._dealt_out(rows, split.__getitem__, lambda index: None, n, whose, split)
        for features in parts:
            for metric in metrics:
                metric.update(features, real=True)

    def _features(self, batches: Iterable[Fakes], n: int, whose: str, like: Reals | None = None) -> Iterator[Features]:
        """The features of n stored samples or floats, batch by batch, with the samples as stored.

        Raises Mistake where something is not finite, or not of the shape of the split `like`.
        """
        split = None if isinstance(like, ReferenceStatistics) else like
        modality, shape = (None, None) if split is None else (modality_of(split), _shape(split))
        done = 0
        for rows in batches:
            x, y = rows if isinstance(rows, tuple) else (rows, None)
            form = modality or self.modality_of(x)
            found_shape = form.sample_shape(x) if form.has_stored_form(x) else tuple(x.shape[1:])
            if shape is not None and found_shape != shape:
                raise Mistake(f"{whose} have shape {format_shape(found_shape)}, and the data {format_shape(shape)}.")
            check_measurable(self.extractor, found_shape, form)
            if x.is_floating_point():
                x = x.detach().to(torch.float32)
                if not bool(x.isfinite().all()):
                    raise Mistake(f"{whose}: some are not finite (nan or infinite), so there is no score.")
                x = form.to_stored(x)
            # half precision is the training's business: a ruler has one
            with torch.autocast(self.device.type, enabled=False):
                found = self.extractor(x.to(self.device))
            if not bool(found.features.isfinite().all()):
                raise Mistake(f"{whose}: the extractor {self.extractor.name} finds features that are not finite.")
            yield found._replace(x=x, y=y)
            done += len(x)
            if self.progress:
                self.progress(f"measuring {whose}", done, n)

    def _about(self, metric: Metric, split: SplitLike, n: int) -> dict[str, Any]:
        """What a reference depends on: the kind of metric, not the name that somebody gave it."""
        return {
            "metric": f"{type(metric).__module__}.{type(metric).__qualname__}",
            "settings": metric.settings(len(split), n),
            "n_fake": None if metric.has_fixed_reference else n,
            "version": VERSION,
            "data": split.sha256,
            "resolution": format_shape(_shape(split)),
            "resizer": self.extractor.resizer,
            "extractor": self.extractor.sha256,
        }

    def _contract(
        self, name: str, metric: str, reals: Reals, n: int, shape: Sequence[int], drawn: Mapping[str, Any] = STORED
    ) -> Contract:
        number = reals.n if isinstance(reals, ReferenceStatistics) else len(reals)
        settings = self.metrics[name].settings(_number(reals), n)
        by = self.extractor
        ruler = {"extractor": by.name, "extractor_sha256": by.sha256, "resizer": by.resizer}
        rest = {"n_real": number, "n_fake": n, "seed": self.seed, "settings": settings, **drawn}
        return Contract.for_samples(metric, reals, shape, **ruler, **rest)

    def _reals(self, reals: Reals | DataLike) -> Reals:
        """The split or the statistics that are meant; the metrics meet the data that a split belongs to."""
        if isinstance(reals, ReferenceStatistics):
            reals.check_extractor(self.extractor)
        if not isinstance(getattr(reals, "describe", None), Callable):
            return reals  # pyright: ignore[reportReturnType]
        data: DataLike = reals  # pyright: ignore[reportAssignmentType]
        self.sample_count(data)
        split = data.split(self.split)
        if self._met != split.sha256:
            self._met = split.sha256
            whys = {name: metric.setup(data) for name, metric in self.metrics.items()}
            self._unfit = {name: why for name, why in whys.items() if why}
        return split

    @contextmanager
    def scoring_context(self) -> Iterator[None]:
        """No gradients, float32 in full, and torch's global generators end as they began, whatever is drawn within.

        A GPU's convolutions take TF32 unless told otherwise, with 10 bits of a factor: that moves a score by more than
        rounding, and no contract names the device.
        """
        before = [backend.fp32_precision for backend in BACKENDS]
        try:
            for backend in BACKENDS:
                backend.fp32_precision = "ieee"
            with preserve_random_state(self.device), torch.no_grad():
                yield
        finally:
            for backend, precision in zip(BACKENDS, before, strict=True):
                backend.fp32_precision = precision


def all_anchor_scores(evaluators: Iterable[Evaluator], data: DataLike) -> dict[str, dict[str, Score]]:
    """The anchors of all of them, by set."""
    found: dict[str, dict[str, Score]] = {}
    for evaluator in evaluators:
        for name, own in evaluator.anchor_scores(data).items():
            found[name] = found.get(name, {}) | own
    return found


def _number(reals: Reals) -> int:
    """How many reals a metric may count on."""
    return reals.n or UNKNOWN_COUNT if isinstance(reals, ReferenceStatistics) else len(reals)


def _shape(split: SplitLike) -> tuple[int, ...]:
    """The shape of one sample, as networks see it."""
    return modality_of(split).sample_shape(split[torch.tensor([0])][0])
