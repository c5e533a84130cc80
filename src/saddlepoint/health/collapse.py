"""Mode collapse: G generates few different samples.

    diversity(samples, reals)     0 if all samples are equal, 1 if there are as many different ones as among reals

The bounds are relative to the largest diversity that this G has reached, but at most 1, because the noise of an
untrained G may be more diverse than the reals.  The alarm is raised below `raise_at` of it.  A G that has learnt
nothing generates one blurred sample too.  So until `since` images only a constant G raises the alarm, and later also
one that never became diverse.  Modes that were never found are not detected: use `metric=[modes]`, recall or coverage.

Goodfellow et al. 2014 (arXiv:1406.2661, sec. 6) describe mode collapse as the Helvetica scenario.  Odena et al. 2017
(arXiv:1610.09585, sec. 4.2) also compare the similarity among samples with that among reals, with MS-SSIM instead of a
kernel.  Pixels are used and not features of D, because these vanish if D is dead, and that is another rule.
"""

from collections.abc import Mapping
from typing import Any

from saddlepoint.health.rule import Readings, Remedy, Rule

PERFECT = 1.0  # diversity of the reals: noise may exceed it, but a good G does not
DIVERSE = 0.05  # reached within 50,000 images by every healthy run that was measured
CONSTANT = 5e-4  # below that of a G that has learnt nothing yet; the smallest measured was 7e-4


class Collapse(Rule):
    """Raised below raise_at of the diversity that was reached; G must be diverse after `since` images."""

    name = "collapse"
    reading = "diversity"
    upwards = False
    means = "G generates nearly the same sample from every latent"
    source = "Goodfellow et al. 2014, arXiv:1406.2661, sec. 6; Odena et al. 2017, arXiv:1610.09585, sec. 4.2"
    remedies = (
        Remedy("let D see the similarity of samples in a batch", "Salimans et al. 2016, arXiv:1606.03498, sec. 3.2",
               "+layer@architecture.discriminator.neck=minibatch_discrimination"),
        Remedy("pair reals and fakes, with both penalties", "Huang et al. 2024, arXiv:2501.05441",
               "objective=relativistic 'regularizer=[r1,r2]'"),
        Remedy("a penalty on D's slope", "Mescheder et al. 2018, arXiv:1801.04406, eq. 9", "'+regularizer=r1'"),
        Remedy("a slower G", "Heusel et al. 2017, arXiv:1706.08500",
               "optimizer.generator.lr=<optimizer.generator.lr / 10>"),
        Remedy("give D several samples at once (PacGAN): game=packing", "Lin et al. 2018, arXiv:1712.04086"),
        Remedy("let G anticipate some of D's steps (unrolled)", "Metz et al. 2017, arXiv:1611.02163"),
    )  # fmt: skip

    def __init__(self, raise_at: float = 0.2, clear_at: float = 0.4, after: int = 2, since: int = 60_000) -> None:
        super().__init__(raise_at, clear_at, after, since)
        self.young, self.since, self.reached = since, 0, 0.0  # the rule itself is active from the first check

    def bound_scale(self, readings: Readings, images: int) -> float:
        """Return the diversity expected of this G at this number of images."""
        if self.reached >= DIVERSE:
            return self.reached
        return CONSTANT if images < self.young else DIVERSE

    def observe(self, readings: Readings, images: int) -> str | None:
        """Observe as any rule does, and record the largest diversity."""
        change = super().observe(readings, images)
        self.reached = max(self.reached, min(PERFECT, self.value(readings) or 0.0))
        return change

    @property
    def state(self) -> dict[str, Any]:
        return {**super().state, "reached": self.reached}

    @state.setter
    def state(self, state: Mapping[str, Any]) -> None:
        self.raised, self.consecutive = bool(state["raised"]), int(state["row"])
        self.reached = min(PERFECT, float(state["reached"]))
