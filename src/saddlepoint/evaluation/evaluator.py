"""Evaluate all metrics in one pass of the fakes through one extractor; each score has its contract.

    reals -> extractor -> reference of each metric, cached on disk under a hash of (data, extractor, settings)
    fakes -> stored form -> extractor -> metrics -> scores       (8 or 16 bits, tokens: see `saddlepoint.modality`)

The global random state of torch is unchanged after an evaluation, so training does not depend on how often it is
evaluated or on whether references are cached.
"""

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor

from saddlepoint import ranks
from saddlepoint.error import Mistake
from saddlepoint.evaluation.anchor import PRIVATE_MEANS, anchor_sets, private_class_means
from saddlepoint.evaluation.contract import VERSION, Contract, Score
from saddlepoint.evaluation.reference_statistics import UNKNOWN_COUNT, ReferenceStatistics
from saddlepoint.extractor.data_like import DataLike, PairedRows, Rows, SplitLike
from saddlepoint.extractor.extractor import Extractor, Features, Progress, check_measurable, format_shape
from saddlepoint.metric.metric import Metric, Result, metric_name
from saddlepoint.modality import Modality, default_modality, infer_modality, modality_of
from saddlepoint.run.storage.cache import Cache, Log, json_sha256, logger
from saddlepoint.stream import preserve_random_state

if TYPE_CHECKING:
    from saddlepoint.evaluation.paired_anchor import Pairs

_BACKENDS: Any = torch.backends
BACKENDS = (  # those that may round float32 operands
    _BACKENDS.cudnn.conv, _BACKENDS.cuda.matmul, _BACKENDS.mkldnn.conv, _BACKENDS.mkldnn.matmul,
)  # fmt: skip
Reals = SplitLike | ReferenceStatistics
Fakes = Tensor | Rows | PairedRows  # samples, or (samples, the classes that they were generated for, target, mask)
MAX_FAKES = 10_000  # upper bound of the default number: with fewer, bias dominates a distance; more cost time
STORED_FIELDS: Mapping[str, Any] = {"weights": "none", "batch_norm": "none"}  # contract fields of stored samples
PROGRESS_PERIOD = 5.0  # seconds between two calls of `progress` while a metric is computed


class Evaluator:
    """Measures samples against a split under one protocol: one extractor, metrics, number of samples and seed."""

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
        """`n` fakes; None: as many as there are samples outside `split`, at most 10,000, once the data are known."""
        if n is not None and n < 2:
            raise Mistake(f"{n} samples cannot be measured: give at least two, better 1,000.")
        self.device = torch.device(device)
        self.extractor = extractor.to(self.device)
        self.n, self.split, self.batch, self.seed, self.log, self.progress = n, split, batch, seed, log, progress
        self.cache = Cache(cache, log)
        self.metrics: dict[str, Metric] = {}
        for name, metric in metrics.items():
            if metric.needs_logits and extractor.classes is None:
                log(
                    f"{name} is left out: it needs class predictions, and the extractor {extractor.name} has none. "
                    "For images with classes use evaluation.extractor=trained, or your own classifier as "
                    f"{{_target_: ...}}.{getattr(extractor.modality, 'metric_hint', '')}"
                )
                continue
            # if an accelerator has no float64 (mps), it only extracts features, and the CPU computes the metrics
            self.metrics[name] = metric.to(self.device if self.device.type == "cuda" else "cpu")
            metric.distributed_available_fn = lambda: False  # each rank has all features: nothing to synchronise
            metric.extractor_accuracy = getattr(extractor, "accuracy", None)
        self.pairs: Pairs | None = None  # of a game from image to image
        self.inputs: int | None = None  # of such a game: how many different images samples are made from
        self.privacy: tuple[float, float] | None = None  # epsilon and delta of a private run, for an anchor
        self._references: dict[str, Mapping[str, Tensor]] = {}  # by hash of what they depend on
        self._setup_sha256: str | None = None  # of the split that the metrics were set up with
        self._unfit: dict[str, str] = {}  # metrics that cannot measure its data, and why
        self._logged: set[str] = set()

    @property
    def higher_is_better(self) -> dict[str, bool]:
        """Whether higher is better, for each score that may be returned, by the metric of its contract."""
        return {
            metric_name(name, suffix): higher
            for name, metric in self.metrics.items()
            for suffix, higher in metric.directions().items()
        }

    def sample_count(self, data: DataLike) -> int:
        """Return the number of fakes; if n is None, the number of samples outside the split, at most 10,000.

        It is also at most the number of different inputs of a game from image to image.
        """
        if self.n is None:
            total, reals = sum(data.describe()["sizes"].values()), len(data.split(self.split))
            self.n = min(MAX_FAKES, total - reals or reals, *([] if self.inputs is None else [self.inputs]))
        return self.n

    def set_pairs(self, pairs: "Pairs") -> None:
        """Set the pairs of a game from image to image: metrics that need the truth measure the rows of their split."""
        self.pairs, self.inputs = pairs, len(pairs.split)
        for metric in self.metrics.values():
            if metric.needs_target:
                metric.region = pairs.region  # pyright: ignore[reportAttributeAccessIssue]

    def __call__(
        self,
        sample: Callable[[int], Fakes],
        reals: Reals | DataLike,
        weights: str = "averaged",
        batch_norm: str = "running",
        dropout: bool = False,
        inputs: str = "",
    ) -> dict[str, Score]:
        """Return the scores, by name, of n samples against `reals`: a split, statistics, or the `split` of a data set.

        `sample(k)` returns k images in [-1, 1] or points, with or without the classes that they were generated for, and
        is called with at most `batch`.  `weights` ("averaged", "raw", "none"), `batch_norm`, `dropout` and `inputs` are
        recorded in the contract.  Raises Mistake if samples are not finite or do not have the shape of the reals.
        """
        with self.scoring_context():
            reference = self._resolve_reals(reals)
            if self.n is None:
                raise ValueError("the number of samples is unknown: give Evaluator an n, or a Data instead of a Split")
            fakes = self._features_of_samples(sample, self.n, reference)
            fields = {"weights": weights, "batch_norm": batch_norm, "dropout": dropout, "inputs": inputs}
            return self._measure_scores(fakes, self.n, reference, fields)

    def _features_of_samples(
        self, sample: Callable[[int], Fakes], n: int, like: Reals | None = None
    ) -> Iterator[Features]:
        """Yield the features of the next n samples in batches; ranks share the work if `sample` has a method `skip`."""
        sizes = [min(self.batch, n - done) for done in range(0, n, self.batch)]
        skip = getattr(sample, "skip", None)
        if ranks.world_size() == 1 or skip is None:
            return self._feature_batches(map(sample, sizes), n, "samples", like)
        return self._over_ranks(sizes, sample, skip, n, "samples", like)

    def _over_ranks(
        self, parts: Iterable[Any], make: Callable[[Any], Fakes], skip: Callable[[Any], Any], n: int, name: str,
        like: Reals | None,
    ) -> Iterator[Features]:  # fmt: skip
        """Yield the features of what `make` returns for each part: rank i makes every world-th part and skips the rest.

        Every rank yields all features in order, so every rank has every score, whatever the number of ranks.
        """
        queue = iter(parts)
        while group := list(islice(queue, ranks.world_size())):
            made = [make(part) if i == ranks.rank() else skip(part) for i, part in enumerate(group)]
            features = []
            if ranks.rank() < len(group):
                features = [next(self._feature_batches([made[ranks.rank()]], n, name, like)).to("cpu")]
            yield from (one.to(self.device) for of_rank in ranks.all_gather_object(features) for one in of_rank)

    def score_split(self, fakes: SplitLike, reals: Reals | DataLike) -> dict[str, Score]:
        """Return the scores, by name, of all stored samples of `fakes` against `reals`, as `__call__` does."""
        with self.scoring_context():
            reference, n = self._resolve_reals(reals), len(fakes)
            if n < 2:
                raise Mistake(f"{fakes.name} has {n} samples, which cannot be measured: at least two, better 1,000.")
            return self._measure_scores(
                self._feature_batches(fakes.batches(self.batch), n, fakes.name, reference), n, reference
            )

    def extract_features(self, batches: Iterable[Fakes], n: int, name: str) -> Features:
        """Return the features, with the samples, of all `batches`, n samples in total; `name` is for messages."""
        with self.scoring_context():
            return Features.concatenate(self._feature_batches(batches, n, name))

    def sample_features(self, sample: Callable[[int], Fakes], n: int) -> Features:
        """Return the features of the next n samples, with the samples."""
        with self.scoring_context():
            return Features.concatenate(self._features_of_samples(sample, n))

    def modality_of(self, x: Tensor) -> Modality:
        """Return the modality of samples outside a split: that of the extractor's data, or the one that x implies."""
        return self.extractor.modality or (
            default_modality(x.shape[1:]) if x.is_floating_point() else infer_modality(x)
        )

    def metric_results(self, fakes: Features, reals: Features | None, split: SplitLike) -> dict[str, Result]:
        """Return the results by metric, without contracts; if reals is None, those of `split` are used, cached."""
        with self.scoring_context():
            n, n_real = len(fakes.features), len(split) if reals is None else len(reals.features)
            given = fakes.y is not None, fakes.target is not None
            metrics = self._applicable_metrics(n_real, n, *given, quiet=reals is not None)
            if reals is None:
                self._set_references(metrics, split, n)
            else:
                for metric in metrics.values():
                    metric.reset()
                    metric.set_reference(None)
                    metric.update(reals, real=True)
            by_metric = self._metric_results(metrics, [fakes])
            return {
                metric_name(name, suffix): result
                for name, results in by_metric.items()
                for suffix, result in results.items()
            }

    def measure_anchors(self, data: DataLike) -> dict[str, dict[str, Score]]:
        """Return the scores of the anchors (see `anchor`), by set and name; measured once, then cached."""
        with self.scoring_context():
            n, split = self.sample_count(data), cast("SplitLike", self._resolve_reals(data))
            shape, modality, held_out = _measured_shape(split), modality_of(split), self._held_out(data)
            pairs = self.pairs if modality.planar or any(m.needs_target for m in self._anchored().values()) else None
            privacy = self.privacy if modality.bounded else None

            def measure() -> dict[str, dict[str, Any]]:
                by_set: dict[str, dict[str, Any]] = {}
                for name, scores in self._anchor_scores(data, split, n, held_out, pairs, privacy):
                    by_set.setdefault(name, {}).update({key: one.to_dict() for key, one in scores.items()})
                return by_set

            about = {
                "anchors": VERSION,
                "held": [part.sha256 for part in held_out],
                **({} if pairs is None else {"pairs": pairs.describe()}),
                **({} if privacy is None else {"privacy": privacy, "means": "train"}),
                **({} if not (names := list(modality.anchors())) else {"sets": names}),
                "own": {name: metric.anchor_settings() for name, metric in self.metrics.items()},
                "contracts": [self._build_contract(name, name, split, n, shape).to_dict() for name in self.metrics],
            }
            cached = self.cache.get_or_make_json("anchors", about, measure, all_ranks=True)
        return {name: {key: Score.from_dict(one) for key, one in scores.items()} for name, scores in cached.items()}

    def _held_out(self, data: DataLike) -> list[SplitLike]:
        """Return the splits of real samples that are not the reference set and have no bias of their own."""
        sizes = data.describe()["sizes"]
        if self.split not in sizes:  # `all` of them
            self._log_once(f"evaluation.split={self.split} holds nothing out: no anchor of held-out reals.")
            return []
        unbiased = getattr(data, "unbiased_splits", None) or sizes
        return [data.split(name) for name in sizes if name != self.split and name in unbiased]

    def _anchored(self) -> dict[str, Metric]:
        """Return the metrics of which the shared anchor sets are scored."""
        return {name: metric for name, metric in self.metrics.items() if metric.uses_anchor_sets}

    def _anchor_scores(
        self, data: DataLike, split: SplitLike, n: int, held_out: Sequence[SplitLike],
        pairs: "Pairs | None", privacy: tuple[float, float] | None,
    ) -> Iterator[tuple[str, dict[str, Score]]]:  # fmt: skip
        """Yield sets and their scores: those of all metrics, of privacy, of pairs, and a metric's own."""
        anchored = self._anchored()
        extract = partial(self._feature_batches, like=split)
        if unpaired := [name for name, metric in anchored.items() if not metric.needs_target]:
            sets = anchor_sets(split, held_out, data.classes, n, self.batch, self.seed, extract)
            for name, size, features in sets:
                yield name, self._measure_scores(features, size, split, names=unpaired)
        if privacy is not None:
            rows = private_class_means(data.split("train"), data.classes, n, self.batch, self.seed, *privacy)
            names = [name for name, metric in self.metrics.items() if not metric.needs_target]
            yield PRIVATE_MEANS, self._measure_scores(extract(rows, n, PRIVATE_MEANS), n, split, names=names)
        if pairs is not None:
            from saddlepoint.evaluation.paired_anchor import paired_anchor_sets  # imports Pillow

            fields, size = {**STORED_FIELDS, "inputs": pairs.split.name}, min(n, len(pairs.split))
            sets = paired_anchor_sets(pairs, "train", len(data.split("train")), size, self.batch, extract)
            for name, features in sets:
                yield name, self._measure_scores(features, size, split, fields, list(anchored))
        for name, metric in self._applicable_metrics(len(split), n, labelled=True, quiet=True).items():
            for set_name, value in metric.anchor_scores(n).items():
                results = {name: metric.to_results(value)}
                yield set_name, self._with_contracts(results, split, n, _measured_shape(split))

    def _measure_scores(
        self,
        fakes: Iterable[Features],
        n: int,
        reals: Reals,
        fields: Mapping[str, Any] = STORED_FIELDS,
        names: Iterable[str] | None = None,
    ) -> dict[str, Score]:
        """Return the scores of n `fakes` by the metrics `names`, or by all if None."""
        batches = iter(fakes)
        first = next(batches)
        given, quiet = (first.y is not None, first.target is not None), names is not None
        metrics = self._applicable_metrics(_number_of_reals(reals), n, *given, quiet, reals)
        metrics = metrics if names is None else {name: metrics[name] for name in names if name in metrics}
        self._set_references(metrics, reals, n)
        results = self._metric_results(metrics, chain([first], batches))
        x = cast("Tensor", first.x)
        modality = self.modality_of(x)
        return self._with_contracts(results, reals, n, modality.measured_shape(modality.sample_shape(x)), fields)

    def _with_contracts(
        self,
        by_metric: Mapping[str, Mapping[str, Result]],
        reals: Reals,
        n: int,
        shape: Sequence[int],
        fields: Mapping[str, Any] = STORED_FIELDS,
    ) -> dict[str, Score]:
        scores = {}
        for name, results in by_metric.items():
            for suffix, (value, std, detail, n_anchor) in results.items():
                contract = self._build_contract(name, metric_name(name, suffix), reals, n_anchor or n, shape, fields)
                scores[contract.score_name] = Score(float(value), contract, None if std is None else float(std), detail)
        return scores

    def _metric_results(self, metrics: Mapping[str, Metric], fakes: Iterable[Features]) -> dict[str, dict[str, Result]]:
        """Return the results of the metrics for `fakes`, by metric and suffix; their references must be set."""
        for features in fakes:
            for metric in metrics.values():
                metric.update(features, real=False)
        results = {name: self._metric_result(name, metric) for name, metric in metrics.items()}
        for metric in metrics.values():
            metric.reset()  # frees the features of the fakes
        return results

    def _metric_result(self, name: str, metric: Metric) -> dict[str, Result]:
        """Return the results of a metric; call `progress` every few seconds meanwhile, as some metrics take minutes."""
        if self.progress is None:
            return metric.results()
        progress, done = self.progress, threading.Event()

        def report() -> None:
            reported = False
            while not done.wait(PROGRESS_PERIOD):
                reported = True
                progress(f"computing {name}", 0, 1)
            if reported:
                progress(f"computing {name}", 1, 1)

        thread = threading.Thread(target=report, daemon=True)
        thread.start()
        try:
            return metric.results()
        finally:
            done.set()
            thread.join()

    def _applicable_metrics(
        self,
        n_real: int,
        n_fake: int,
        labelled: bool,
        paired: bool = False,
        quiet: bool = False,
        reals: Reals | None = None,
    ) -> dict[str, Metric]:
        """Return the metrics that can measure these samples.  Unless `quiet`, log once why others are left out."""
        measurable = {}
        for name, metric in self.metrics.items():
            unfit = reals.why_not(metric) if isinstance(reals, ReferenceStatistics) else self._unfit.get(name)
            reason = unfit or metric.why_not(n_real, n_fake)
            if not reason and metric.needs_labels and not labelled:
                reason = "it needs the class that each sample was generated for, and these samples have none"
            if not reason and metric.needs_target and not paired:
                reason = "it compares samples with their truth, which only games from image to image have"
            message = f"{name} is left out: {reason}." if reason else None
            if not reason:
                measurable[name] = metric
                caution = metric.caution(n_real, n_fake, self.extractor.dim)
                message = f"{name}: {caution}." if caution else None
            if message and not quiet:
                self._log_once(message)
        return measurable

    def _log_once(self, message: str) -> None:
        if message not in self._logged:
            self._logged.add(message)
            self.log(message)

    def _set_references(self, metrics: Mapping[str, Metric], reals: Reals, n: int) -> None:
        """Set the reference of each metric: from statistics, memory, the cache, or one pass over the reals for all."""
        if isinstance(reals, ReferenceStatistics):
            for metric in metrics.values():
                metric.reset()
                reals.set_reference_of(metric)
            return
        split = reals
        about = {name: self._reference_key(metric, split, n) for name, metric in metrics.items() if metric.needs_reals}
        missing = [name for name in about if json_sha256(about[name]) not in self._references]
        updated = False

        def compute(metric: Metric) -> dict[str, Tensor]:
            nonlocal updated
            if not updated:
                self._update_with_reals([metrics[name] for name in missing], split)
                updated = True
            return metric.reference(n)

        for name in missing:
            make = partial(compute, metrics[name])
            self._references[json_sha256(about[name])] = self.cache.get_or_make_tensors(
                "statistics", about[name], make, all_ranks=True
            )
        for name, metric in metrics.items():
            metric.reset()
            metric.set_reference(self._references[json_sha256(about[name])] if name in about else None)

    def _update_with_reals(self, metrics: Iterable[Metric], split: SplitLike) -> None:
        for metric in metrics:
            metric.reset()
        name, n = f"the {split.name} split", len(split)
        if ranks.world_size() == 1:
            batches = self._feature_batches(split.batches(self.batch), n, name, split)
        else:
            rows = torch.arange(n).split(self.batch)
            batches = self._over_ranks(rows, split.__getitem__, lambda index: None, n, name, split)
        for features in batches:
            for metric in metrics:
                metric.update(features, real=True)

    def _feature_batches(
        self, batches: Iterable[Fakes], n: int, name: str, like: Reals | None = None
    ) -> Iterator[Features]:
        """Yield the features of n samples, as floats or as stored, in batches, with the samples as stored.

        Raises Mistake if samples are not finite, or do not have the shape of the split `like`.
        """
        split = None if isinstance(like, ReferenceStatistics) else like
        modality = shape = None
        if split is not None:
            modality = modality_of(split)
            shape = _sample_shape(split, modality)
        done = 0
        for rows in batches:
            x, y, *pair = rows if isinstance(rows, tuple) else (rows, None)
            target, mask = pair or (None, None)
            form = modality or self.modality_of(x)
            sample_shape = form.sample_shape(x) if form.has_stored_form(x) else tuple(x.shape[1:])
            if shape is not None and sample_shape != shape:
                raise Mistake(f"{name} have shape {format_shape(sample_shape)}, and the data {format_shape(shape)}.")
            check_measurable(self.extractor, sample_shape, form)
            if x.is_floating_point():
                x = x.detach().to(torch.float32)
                if not bool(x.isfinite().all()):
                    raise Mistake(f"{name}: some values are nan or infinite, so there is no score.")
                x = form.to_stored(x)
            # full precision, even if training uses autocast: scores must not depend on it
            with torch.autocast(self.device.type, enabled=False):
                features = self.extractor(x.to(self.device))
            if not bool(features.features.isfinite().all()):
                raise Mistake(f"{name}: some features of the extractor {self.extractor.name} are nan or infinite.")
            yield features._replace(x=x, y=y, target=target, mask=mask)
            done += len(x)
            if self.progress:
                self.progress(f"measuring {name}", done, n)

    def _reference_key(self, metric: Metric, split: SplitLike, n: int) -> dict[str, Any]:
        """Return what a reference depends on.  The class of the metric counts, not its name in the config."""
        return {
            "metric": f"{type(metric).__module__}.{type(metric).__qualname__}",
            "settings": metric.settings(len(split), n),
            "n_fake": None if metric.has_fixed_reference else n,
            "version": VERSION,
            "data": split.sha256,
            "resolution": format_shape(_measured_shape(split)),
            "resizer": self.extractor.resizer,
            "extractor": self.extractor.sha256,
        }

    def _build_contract(
        self,
        name: str,
        metric: str,
        reals: Reals,
        n: int,
        shape: Sequence[int],
        fields: Mapping[str, Any] = STORED_FIELDS,
    ) -> Contract:
        if self.pairs is not None and self.metrics[name].needs_target:
            reals = self.pairs.split
        n_real = reals.n if isinstance(reals, ReferenceStatistics) else len(reals)
        settings = self.metrics[name].settings(n_real or UNKNOWN_COUNT, n)
        net = self.extractor
        extractor = {"extractor": net.name, "extractor_sha256": net.sha256, "resizer": net.resizer}
        numbers = {"n_real": n_real, "n_fake": n, "seed": self.seed}
        return Contract.for_samples(metric, reals, shape, **extractor, **numbers, settings=settings, **fields)

    def _resolve_reals(self, reals: Reals | DataLike) -> Reals:
        """Return the split or the statistics to measure against; for a data set, set up the metrics with it."""
        if isinstance(reals, ReferenceStatistics):
            reals.check_extractor(self.extractor)
        if not isinstance(getattr(reals, "describe", None), Callable):
            return reals  # pyright: ignore[reportReturnType]
        data: DataLike = reals  # pyright: ignore[reportAssignmentType]
        self.sample_count(data)
        split = data.split(self.split)
        if self._setup_sha256 != split.sha256:
            self._setup_sha256 = split.sha256
            reasons = {name: metric.setup(data) for name, metric in self.metrics.items()}
            self._unfit = {name: reason for name, reason in reasons.items() if reason}
        return split

    @contextmanager
    def scoring_context(self) -> Iterator[None]:
        """Disable gradients, use full float32 precision, and restore torch's global random state afterwards.

        By default a GPU's convolutions use TF32, which rounds factors to 10 bits.  That changes a score by more than
        rounding, and the contract does not record the device.
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


def measure_all_anchors(evaluators: Iterable[Evaluator], data: DataLike) -> dict[str, dict[str, Score]]:
    """Return the anchor scores of all evaluators, by set and name."""
    by_set: dict[str, dict[str, Score]] = {}
    for evaluator in evaluators:
        for name, scores in evaluator.measure_anchors(data).items():
            by_set[name] = by_set.get(name, {}) | scores
    return by_set


def _number_of_reals(reals: Reals) -> int:
    """Number of reals for the checks of metrics; very large if a file does not include it."""
    return reals.n or UNKNOWN_COUNT if isinstance(reals, ReferenceStatistics) else len(reals)


def _sample_shape(split: SplitLike, modality: Modality) -> tuple[int, ...]:
    """Shape of one sample, as networks receive it."""
    return modality.sample_shape(split[torch.tensor([0])][0])


def _measured_shape(split: SplitLike) -> tuple[int, ...]:
    """Shape of one sample, as it is measured."""
    modality = modality_of(split)
    return modality.measured_shape(_sample_shape(split, modality))
