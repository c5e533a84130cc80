"""Explosion: values that approach the limit of float32, or a term that dominates the losses.

    log10 max(|loss|, |gradient|, |weight|)  over all terms and players; float32 ends at 38.5

Pascanu et al. 2013 (arXiv:1211.5063) study gradients that grow without bound.  The gradient of a penalty grows with its
weight, and without damping the game spirals outwards for every step size (Mescheder et al. 2018, arXiv:1801.04406).

The alarm is raised in time if growth is slow: at s decades per check, float32 overflows (38.5 - raise_at) / s checks
later; the alarm gives an estimate from the last checks.  Faster growth is stopped by the callback `finite`.  The
largest value in 24 healthy runs of another experiment, the 2^5 table of Salimans et al. 2016, was 10^1.5.
"""

from saddlepoint.health.rule import Remedy, Rule


class Explosion(Rule):
    """Raised above 10^raise_at."""

    name = "explosion"
    reading = "magnitude"
    means = "a loss, gradient or weight is far too large, and float32 ends at 10^38.5"
    source = "Pascanu et al. 2013, arXiv:1211.5063; Mescheder et al. 2018, arXiv:1801.04406"
    remedies = (
        Remedy("lower the weight of the penalty", "Mescheder et al. 2018, arXiv:1801.04406, sec. 4.1",
               "regularizer.discriminator.<penalty>.weight=<regularizer.discriminator.<penalty>.weight / 10>"),
        Remedy("lower the learning rates", "Heusel et al. 2017, arXiv:1706.08500",
               "optimizer.discriminator.lr=<optimizer.discriminator.lr / 10> "
               "optimizer.generator.lr=<optimizer.generator.lr / 10>"),
        Remedy("clip the gradient's length", "Pascanu et al. 2013, arXiv:1211.5063, sec. 3.2",
               "game.players.discriminator.clip=10 game.players.generator.clip=10"),
        Remedy("bound D's slope, if nothing does", "Mescheder et al. 2018, arXiv:1801.04406, eq. 9",
               "'+regularizer=r1'"),
    )  # fmt: skip

    def __init__(self, raise_at: float = 2.5, clear_at: float = 2.0, after: int = 1, since: int = 0) -> None:
        super().__init__(raise_at, clear_at, after, since)
