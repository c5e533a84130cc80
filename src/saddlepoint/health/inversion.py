"""Inversion: a translation without pairs exchanges dark and light.

    mean over images of the correlation of input and output, over pixels, of the mean of their channels

A cycle does not notice: what inverts colours is inverted again on the way back, so the cycle's error is small.  Users
of the authors' code report it (pytorch-CycleGAN-and-pix2pix, issues 91, 725 and 924), and the paper's identity term is
against it (Zhu et al. 2017, arXiv:1703.10593, section 5.2).  If one domain is the negative of the other, the alarm is
wrong: disable it.
"""

from saddlepoint.health.rule import Remedy, Rule


class Inversion(Rule):
    """Raised below raise_at; there is a reading in games that translate in both directions."""

    name = "inversion"
    reading = "input_correlation"
    upwards = False
    means = "the translation exchanges dark and light of its input, which the cycle does not notice"
    source = "Zhu et al. 2017, arXiv:1703.10593, sec. 5.2"
    remedies = (
        Remedy("the identity term, or more weight for it: +regularizer=identity",
               "Zhu et al. 2017, arXiv:1703.10593, sec. 5.2"),
        Remedy("another initialisation", "issue 91 of pytorch-CycleGAN-and-pix2pix", "seed=1"),
    )  # fmt: skip

    def __init__(self, raise_at: float = -0.3, clear_at: float = 0.0, after: int = 2, since: int = 0) -> None:
        super().__init__(raise_at, clear_at, after, since)
