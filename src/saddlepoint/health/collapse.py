"""Collapse: G makes few things, over and over.

    diversity(samples, reals)     0 for one thing from every latent, 1 for as many different ones as among reals

held against what this G has reached, at most 1, since the noise of an untrained one may be more diverse than the reals:
an alarm below `raise_at` of it.  Before it has been diverse at all there is little to hold it against, for a young G
makes one blurred thing too: until `since` images only a G that is constant is told of, from then on one that never
became diverse.  Modes that were never found are not seen so: `metric=[modes]`, recall and coverage are for these.

Mode collapse is Goodfellow et al. 2014's (arXiv:1406.2661, sec. 6) Helvetica scenario.  Samples among themselves
against reals among themselves is how Odena et al. 2017 (arXiv:1610.09585, sec. 4.2) look for it, with MS-SSIM in the
place of a kernel.  Pixels, not D's features: these shrink to nothing with a dead D, and that has a rule of its own.
"""

from collections.abc import Mapping
from typing import Any

from saddlepoint.health.rule import Readings, Remedy, Rule

PERFECT = 1.0  # the diversity of the reals: noise may have more of it, and a good G does not keep that
DIVERSE = 0.05  # of the reals' diversity: what every healthy run here had within 50,000 images
CONSTANT = 5e-4  # what a G has that has learnt nothing yet; seven ten-thousandths was the least seen


class Collapse(Rule):
    """Raised below raise_at of the diversity that was reached; `since` says when G must have become diverse."""

    name = "collapse"
    reading = "diversity"
    upwards = False
    means = "G makes nearly the same thing from every latent"
    source = "Goodfellow et al. 2014, arXiv:1406.2661, sec. 6; Odena et al. 2017, arXiv:1610.09585, sec. 4.2"
    remedies = (
        Remedy("show D how alike the samples of a batch are", "Salimans et al. 2016, arXiv:1606.03498, sec. 3.2",
               "+layer@architecture.discriminator.neck=minibatch_discrimination"),
        Remedy("pair reals and fakes, with both penalties", "Huang et al. 2024, arXiv:2501.05441",
               "objective=relativistic 'regularizer=[r1,r2]'"),
        Remedy("a penalty on D's slope", "Mescheder et al. 2018, arXiv:1801.04406, eq. 9", "'+regularizer=r1'"),
        Remedy("a slower G", "Heusel et al. 2017, arXiv:1706.08500",
               "optimizer.generator.lr=<optimizer.generator.lr / 10>"),
        Remedy("show D several samples at once (PacGAN): architecture=pacgan_toy", "Lin et al. 2018, arXiv:1712.04086"),
        Remedy("let G look some of D's steps ahead (unrolled)", "Metz et al. 2017, arXiv:1611.02163"),
    )  # fmt: skip

    def __init__(self, raise_at: float = 0.2, clear_at: float = 0.4, after: int = 2, since: int = 60_000) -> None:
        super().__init__(raise_at, clear_at, after, since)
        self.young, self.since, self.reached = since, 0, 0.0  # a constant G is told of from the first look on

    def bound_scale(self, readings: Readings, images: int) -> float:
        """The diversity that is to be expected of this G now."""
        if self.reached >= DIVERSE:
            return self.reached
        return CONSTANT if images < self.young else DIVERSE

    def observe(self, readings: Readings, images: int) -> str | None:
        """As any rule; and remember the most that was reached."""
        happened = super().observe(readings, images)
        self.reached = max(self.reached, min(PERFECT, self.value(readings) or 0.0))
        return happened

    @property
    def state(self) -> dict[str, Any]:
        return {**super().state, "reached": self.reached}

    @state.setter
    def state(self, state: Mapping[str, Any]) -> None:
        self.raised, self.row = bool(state["raised"]), int(state["row"])
        self.reached = min(PERFECT, float(state["reached"]))
