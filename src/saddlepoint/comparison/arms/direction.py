"""Which metrics are better when higher, and which are proportions in [0, 1]. Tables by metric name, so that a
comparison does not import torch; a test checks the directions against the metrics."""

from saddlepoint.error import Mistake

AUGMENTATION = frozenset(f"augmentation_accuracy_{arm}" for arm in ("real", "affine", "gan", "both", "all"))
LOWER_IS_BETTER = frozenset(
    ("fid", "fid_infinity", "class_fid_mean", "class_fid_max", "class_fid_missing", "kid", "class_frequency",
     "class_frequency_gini", "class_modes_kl", "modes_reverse_kl", "nearest_neighbour_error", "error",
     "paired_mae", "forward_kl", "reverse_kl", "nll", "nll_oracle", "language_model", "language_model_reverse",
     "exact_match_train", "bleu_self", "mel_distance", "speaker_coverage_kl", "fairness_discrepancy")
)  # fmt: skip
HIGHER_IS_BETTER = frozenset(
    ("inception_score", "precision", "recall", "density", "coverage", "class_coverage_mean", "class_coverage_min",
     "class_frequency_worst", "class_modes_captured", "class_modes_captured_20", "modes_captured",
     "modes_high_quality", "gan_train", "gan_test", "parzen", "authenticity", "class_agreement",
     "permuted_class_agreement", "paired_psnr", "paired_ssim", "bleu", "exact_match_held_out", "exact_match_distinct",
     "speaker_coverage")
) | AUGMENTATION  # fmt: skip

RECONSTRUCTION_ERRORS = ("_mae", "_mse")  # of any side of a game: cycle_mae, lower is better

PROPORTIONS = frozenset(
    ("precision", "recall", "coverage", "class_coverage_mean", "class_coverage_min", "modes_high_quality", "gan_train",
     "gan_test", "error", "authenticity", "bleu", "bleu_self", "exact_match_train", "exact_match_held_out",
     "exact_match_distinct")
) | AUGMENTATION | {"augmentation_accuracy"}  # fmt: skip

# the score of an untrained generator is no floor: noise is perfectly authentic, and a network for super-resolution
# starts from interpolation, whose distortion a realistic sample may exceed; arms without fakes do not depend on it
PERFECT_UNTRAINED = frozenset(("authenticity", "paired_mae", "paired_psnr", "paired_ssim", "augmentation_accuracy"))
PERFECT_UNTRAINED |= AUGMENTATION


def higher_is_better(metric: str, requested: bool | None = None) -> bool:
    """Whether higher values of a contract's metric are better; `requested` is the user's setting.

    Raises Mistake for an unknown metric without a setting, and for a setting that contradicts the known direction.
    """
    is_error = metric in LOWER_IS_BETTER or metric.endswith(RECONSTRUCTION_ERRORS)
    known = True if metric in HIGHER_IS_BETTER else False if is_error else None
    if known is None and requested is None:
        raise Mistake(f"the direction of {metric} is unknown: set higher_is_better=true, or false")
    if None not in (known, requested) and known != requested:
        good = "high" if known else "low"
        raise Mistake(f"higher_is_better={str(requested).lower()}: of {metric}, {good} values are good")
    return bool(requested if known is None else known)


def metric_of(key: str, name: str = "") -> str:
    """Return the metric in a score's key, fid for fid_digits_450_validation; `name` is accepted as a metric too."""
    body = key.rpartition("_")[0].rpartition("_")[0] or key  # without split and number of fakes
    names = (*LOWER_IS_BETTER, *HIGHER_IS_BETTER, name)
    known = [metric for metric in names if metric and (body == metric or body.startswith(f"{metric}_"))]
    return max(known, key=len, default=body)
