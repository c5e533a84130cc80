"""The guarantee of a run trained by DP-SGD: (epsilon, delta)-differential privacy for one training image.

Dwork & Roth 2014, definition 2.4: for any two training sets that differ in one image, and any set S of results,
P(result in S) <= e^epsilon P'(result in S) + delta. It holds for the weights after every step together, and for all
that is computed from them alone (post-processing): the generator, its samples.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from saddlepoint.error import Mistake
from saddlepoint.privacy.accountant import least_epsilon, required_noise, spent_epsilon

FEW = 10_000  # training images below which no useful epsilon can be expected
NEIGHBOURS = "one training image, with its label, added or removed"
ACCOUNTANT = (
    "RDP of the Poisson-sampled Gaussian mechanism (Mironov, Talwar & Zhang 2019), converted by Canonne, Kamath & "
    "Steinke 2020"
)
NOT_COVERED = (
    "scores, losses and logs; the choice of settings, length and best checkpoint by them; initial weights "
    "(start); other splits; a person with several images; other runs on the same images, whose epsilons add up, and "
    "whose noise is the same if they share the seed; pseudo-random and rounded noise in place of real noise"
)
KNOWN_SEED = (
    "whoever knows the seed, which the run folder records, can compute the noise (game.secret=true prevents it)"
)
IN_CHECKPOINTS = "whoever has a checkpoint of the run can compute the noise"


@dataclass(frozen=True)
class Guarantee:
    """The settings of DP-SGD that determine epsilon.

    images  number of training images
    batch   expected number of images per step; each is in a batch with probability batch / images
    clip    C, largest norm of the gradient of one image
    noise   sigma: the noise of the summed gradient is N(0, (sigma C)^2); 0: no privacy
    delta   None without noise
    secret  whether noise and sampling are independent of the run's seed
    """

    images: int
    batch: int
    clip: float
    noise: float
    delta: float | None
    secret: bool = False

    @property
    def settings(self) -> dict[str, float]:
        """What must not change between the first step and the last."""
        return {"images": self.images, "batch": self.batch, "clip": self.clip, "noise": self.noise}

    def epsilon(self, steps: int) -> float:
        """epsilon after `steps` steps; infinite without noise."""
        if not self.noise or self.delta is None:
            return math.inf
        return spent_epsilon(self.batch / self.images, self.noise, steps, self.delta)

    def facts(self, steps: int) -> dict[str, Any]:
        """The guarantee after `steps` steps as plain values, for summary.json; epsilon is None without noise."""
        epsilon = self.epsilon(steps)
        finite = math.isfinite(epsilon)
        return {
            "epsilon": epsilon if finite else None,
            "delta": self.delta if finite else None,
            "steps": steps,
            **self.settings,
            "clip": self.clip if math.isfinite(self.clip) else None,
            "neighbours": NEIGHBOURS,
            "accountant": ACCOUNTANT,
            "not_covered": f"{NOT_COVERED}; {IN_CHECKPOINTS if self.secret else KNOWN_SEED}" if finite else None,
        }


def format_privacy(facts: Mapping[str, Any]) -> str:
    """The guarantee in a line, from the facts in summary.json."""
    if facts["epsilon"] is None:
        return f"no privacy: clipped gradients without noise, {facts['steps']:,} steps"
    return (
        f"({facts['epsilon']:.3g}, {facts['delta']:g})-differential privacy for {facts['neighbours']}, after "
        f"{facts['steps']:,} steps"
    )


def describe_privacy(facts: Mapping[str, Any]) -> str:
    """The guarantee in a line, with what it does not cover."""
    covered = format_privacy(facts)
    return covered if facts["not_covered"] is None else f"{covered}; not covered: {facts['not_covered']}"


def plan_guarantee(
    images: int,
    batch: int,
    steps: int,
    clip: float,
    noise: float | None,
    epsilon: float | None,
    delta: float | None,
    secret: bool = False,
) -> Guarantee:
    """The guarantee for given noise, or with the noise that `steps` steps within `epsilon` need.

    Raises Mistake for settings that contradict each other or guarantee nothing.
    """
    if (noise is None) == (epsilon is None):
        both = "both are set" if noise is not None else "neither is set"
        raise Mistake(f"game.noise and game.epsilon: {both}. Set the noise, or the epsilon that the noise is for")
    for name, value, least in (("clip", clip, 0), ("epsilon", epsilon, 0), ("noise", noise, -1)):
        if value is not None and not (value > least and (value >= 0)):
            raise Mistake(f"game.{name}={value} must be {'at least' if least else 'above'} 0")
    if noise == 0:
        return Guarantee(images, batch, clip, 0.0, None, secret)
    if not math.isfinite(clip):
        raise Mistake("game.clip must be finite with noise, whose size it sets; game.clip=inf needs game.noise=0")
    if batch > images:
        raise Mistake(f"batch={batch}: an image cannot be in more than every batch, and there are {images:,} images")
    if delta is None:
        given = f"game.noise={noise:g}" if epsilon is None else f"game.epsilon={epsilon:g}"
        raise Mistake(
            f"{given} guarantees nothing without a delta: set game.delta, below 1/{images:,} = {1 / images:.1e} for "
            f"these data, such as game.delta={10 ** math.floor(-math.log10(2 * images)):.0e}"
        )
    if not 0 < delta < 1 / images:
        raise Mistake(
            f"game.delta={delta:g} must be above 0 and below 1/{images:,} = {1 / images:.1e}: at 1/{images:,}, "
            "publishing one of the training images at random would satisfy it"
        )
    if epsilon is not None:
        if not least_epsilon(delta) < epsilon < math.inf:
            raise Mistake(
                f"game.epsilon={epsilon:g}: no noise gives it. At delta {delta:g} it must be finite and above "
                f"{least_epsilon(delta):.3g}; without privacy, game.noise=0"
            )
        noise = required_noise(batch / images, steps, epsilon, delta)
    assert noise is not None
    return Guarantee(images, batch, clip, noise, delta, secret)
