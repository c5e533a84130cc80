"""Whether more of a score is better, and which scores are shares, in [0, 1].  Tables by metric, so that a comparison
needs no torch; a test holds the first to the metrics themselves."""

from saddlepoint.error import Mistake

LOWER_IS_BETTER = frozenset(
    ("fid", "fid_infinity", "class_fid_mean", "class_fid_max", "class_fid_missing", "kid", "class_frequency",
     "class_frequency_gini", "class_modes_kl", "modes_reverse_kl", "nearest_neighbour_error", "error")
)  # fmt: skip
HIGHER_IS_BETTER = frozenset(
    ("inception_score", "precision", "recall", "density", "coverage", "class_coverage_mean", "class_coverage_min",
     "class_frequency_worst", "class_modes_captured", "class_modes_captured_20", "modes_captured",
     "modes_high_quality", "gan_train", "gan_test", "parzen")
)  # fmt: skip

PROPORTIONS = frozenset(
    ("precision", "recall", "coverage", "class_coverage_mean", "class_coverage_min", "modes_high_quality", "gan_train",
     "gan_test", "error")
)  # fmt: skip


def higher_is_better(metric: str, requested: bool | None = None) -> bool:
    """Whether more of a contract's metric is better; `said` where a person says it.

    Raises Mistake for a metric that is not known, and where a person says the opposite of what is.
    """
    known = True if metric in HIGHER_IS_BETTER else False if metric in LOWER_IS_BETTER else None
    if known is None and requested is None:
        raise Mistake(f"nobody knows whether a high {metric} is good: say higher_is_better=true, or false")
    if None not in (known, requested) and known != requested:
        raise Mistake(
            f"higher_is_better={str(requested).lower()}: of {metric}, {'high' if known else 'low'} values are good"
        )
    return bool(requested if known is None else known)


def metric_of(key: str, name: str = "") -> str:
    """The metric in a score's key, fid of fid_digits_450_validation; `name` is taken for a metric too."""
    body = key.rpartition("_")[0].rpartition("_")[0] or key  # without split and number of fakes
    known = [
        one
        for one in (*LOWER_IS_BETTER, *HIGHER_IS_BETTER, name)
        if one and (body == one or body.startswith(f"{one}_"))
    ]
    return max(known, key=len, default=body)
