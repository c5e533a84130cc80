"""Overfitting: D has memorised its training images, so G learns to copy them.

    P(logit of a training real > logit of a held-out real)        1/2: D does not separate them;  1: it does

Karras et al. 2020 (ADA, arXiv:2006.06676, eq. 1) compare D's logits on training, held-out and generated images in r_v =
(E[train] - E[held-out]) / (E[train] - E[fake]), and find that training fails as it rises.  The rank statistic measures
the same and does not depend on scale; r_v is undefined if D does not separate fakes from reals.
"""

from saddlepoint.health.rule import Remedy, Rule


class Overfitting(Rule):
    """Raised above raise_at."""

    name = "overfitting"
    reading = "train_over_held_out"
    means = "D separates its training images from held-out ones: it has memorised them"
    source = "Karras et al. 2020 (ADA), arXiv:2006.06676, sec. 2 and eq. 1"
    remedies = (
        Remedy("more data, or augmentation that G cannot see (ADA, DiffAugment)",
               "Karras et al. 2020, arXiv:2006.06676; Zhao et al. 2020, arXiv:2006.10738"),
        Remedy("a penalty on D's slope", "Mescheder et al. 2018, arXiv:1801.04406, eq. 9", "'+regularizer=r1'"),
        Remedy("noise in D's layers", "Salimans et al. 2016, arXiv:1606.03498, appendix",
               "+layer@architecture.discriminator.neck=gaussian_noise"),
        Remedy("a narrower D", "Yang et al. 2022, arXiv:2209.09897", "architecture.discriminator.widths=[64]"),
        Remedy("stop earlier: the best checkpoint is kept", "Karras et al. 2020, arXiv:2006.06676, fig. 1"),
    )  # fmt: skip

    def __init__(self, raise_at: float = 0.75, clear_at: float = 0.65, after: int = 2, since: int = 0) -> None:
        super().__init__(raise_at, clear_at, after, since)
