"""Saturation: G's loss is flat at the current logits, so G no longer learns and cannot recover.

The smaller of two values, each 1 if nothing is lost:

    sum |dL_G / d logit|            if D puts nearly every real above every fake.  Minimax passes sigmoid(logit), which
                                    is 0 if D is certain (Goodfellow et al. 2014, arXiv:1406.2661, sec. 3; Arjovsky &
                                    Bottou 2017, arXiv:1701.04862, theorem 2.4).  It is 1 for a critic
    mean(1 - x^2) of samples over reals       small if G's pixels are at the ends of tanh, where its gradient is 0
"""

from saddlepoint.health.rule import Readings, Remedy, Rule

CERTAIN = 0.99  # of pairs (real, fake) that D orders correctly: below it G is winning, and its flat loss is a success


class Saturation(Rule):
    """Raised below raise_at."""

    name = "saturation"
    reading = "generator_signal"
    upwards = False
    means = (
        "G's gradient vanishes: D is certain of every image and the objective is flat, or G's pixels are at the ends"
    )
    source = "Goodfellow et al. 2014, arXiv:1406.2661, sec. 3; Arjovsky & Bottou 2017, arXiv:1701.04862, theorem 2.4"
    remedies = (
        Remedy("the non-saturating loss", "Goodfellow et al. 2014, arXiv:1406.2661, sec. 3", "objective=nonsaturating"),
        Remedy("one-sided label smoothing: D is never certain", "Salimans et al. 2016, arXiv:1606.03498, sec. 3.4",
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
        """Return the smaller value; None if there is neither."""
        return min(_counted_readings(readings).values(), default=None)

    def reading_name(self, readings: Readings) -> str:
        signals = _counted_readings(readings)
        return min(signals, key=signals.__getitem__, default=self.reading)


def _counted_readings(readings: Readings) -> dict[str, float]:
    """Return the values that count at this check, by the name of the reading."""
    lost = readings.get("real_over_fake", 0.0) >= CERTAIN
    names = [*(["generator_signal"] if lost else []), "pixel_freedom"]
    return {name: readings[name] for name in names if name in readings}
