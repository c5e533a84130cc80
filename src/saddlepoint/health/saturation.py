"""Saturated: G's loss is flat where it stands, so it no longer learns, and cannot catch up.

The smaller of two shares, each 1 where all is free:

    sum |dL_G / d logit|            where D puts nearly every real before every fake.  Minimax passes sigmoid(logit), so
                                    nothing where D is sure (Goodfellow et al. 2014, arXiv:1406.2661, sec. 3; Arjovsky &
                                    Bottou 2017, arXiv:1701.04862, theorem 2.4).  A critic's is 1, whatever D says
    mean(1 - x^2) of samples over reals       G's own pixels at the ends of tanh, where its last layer passes nothing
"""

from saddlepoint.health.rule import Readings, Remedy, Rule

APART = 0.99  # of pairs (real, fake) that D orders rightly: below, G has not lost, and a flat loss is its success


class Saturation(Rule):
    """Raised below raise_at."""

    name = "saturation"
    reading = "generator_signal"
    upwards = False
    means = (
        "G's gradient vanishes: D is sure of every image and the objective is flat there, or G's pixels are at the ends"
    )
    source = "Goodfellow et al. 2014, arXiv:1406.2661, sec. 3; Arjovsky & Bottou 2017, arXiv:1701.04862, theorem 2.4"
    remedies = (
        Remedy("the non-saturating loss", "Goodfellow et al. 2014, arXiv:1406.2661, sec. 3", "objective=nonsaturating"),
        Remedy("one-sided label smoothing: D is never sure", "Salimans et al. 2016, arXiv:1606.03498, sec. 3.4",
               "objective.discriminator.real_label=0.9"),
        Remedy("a penalty on D's slope", "Mescheder et al. 2018, arXiv:1801.04406, eq. 9", "'+regularizer=r1'"),
        Remedy("a critic instead of a classifier", "Gulrajani et al. 2017, arXiv:1704.00028",
               "objective=wasserstein 'regularizer=[gradient_penalty]'"),
        Remedy("a slower D", "Heusel et al. 2017, arXiv:1706.08500",
               "optimizer.discriminator.lr=<optimizer.discriminator.lr / 10>"),
    )  # fmt: skip

    def __init__(self, raise_at: float = 0.002, clear_at: float = 0.01, after: int = 2, since: int = 0) -> None:
        super().__init__(raise_at, clear_at, after, since)

    def value(self, readings: Readings) -> float | None:
        """The smaller share; None where neither can be told."""
        return min(_shares(readings).values(), default=None)

    def reading_name(self, readings: Readings) -> str:
        shares = _shares(readings)
        return min(shares, key=shares.__getitem__, default=self.reading)


def _shares(readings: Readings) -> dict[str, float]:
    """The shares that count at this look, by the reading that each is."""
    lost = readings.get("real_over_fake", 0.0) >= APART
    counting = [*(["generator_signal"] if lost else []), "pixel_freedom"]
    return {name: readings[name] for name in counting if name in readings}
