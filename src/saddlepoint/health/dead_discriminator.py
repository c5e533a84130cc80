"""Dead discriminator: D gives the same logit to every image, so neither player has a gradient.

    std(logits) / max(1, |mean(logits)|)  over reals and fakes together

If no input activates its rectifiers, they pass no gradient and do not recover (Maas et al. 2013, Rectifier
nonlinearities improve neural network acoustic models, sec. 2); the value is exactly 0 then.  The logits of a D that is
merely fooled still differ between images, by 10^-2 and more.
"""

from saddlepoint.health.rule import Remedy, Rule


class DeadDiscriminator(Rule):
    """Raised below raise_at."""

    name = "dead_discriminator"
    reading = "logit_spread"
    upwards = False
    means = "D gives the same logit to every image: G has nothing to learn from"
    source = "Maas et al. 2013 (rectifiers that died); Arjovsky & Bottou 2017, arXiv:1701.04862, theorem 2.4"
    remedies = (
        Remedy("lower D's learning rate: one long step kills rectifiers", "Heusel et al. 2017, arXiv:1706.08500",
               "optimizer.discriminator.lr=<optimizer.discriminator.lr / 10>"),
        Remedy("a smaller penalty: a large one flattens D", "Mescheder et al. 2018, arXiv:1801.04406",
               "regularizer.discriminator.<penalty>.weight=<regularizer.discriminator.<penalty>.weight / 10>"),
        Remedy("another initialisation", "He et al. 2015, arXiv:1502.01852", "seed=1"),
        Remedy("normalise the weights of D's layers", "Salimans & Kingma 2016, arXiv:1602.07868",
               "+layer@architecture.discriminator.norm=weight_norm"),
    )  # fmt: skip

    def __init__(self, raise_at: float = 1e-5, clear_at: float = 1e-4, after: int = 1, since: int = 0) -> None:
        super().__init__(raise_at, clear_at, after, since)
