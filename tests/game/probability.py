"""Turns for adaptive augmentation, in a module that the processes of several ranks can import."""

import torch

from saddlepoint import ranks
from saddlepoint.game.side import parse_sides
from saddlepoint.layer.adaptive_augment import AdaptiveAugment
from saddlepoint.turn import Batch, DiscriminatorOutput, Sample, Turn


def turn(logits):
    """A turn whose side of augmented reals has these logits."""
    sides = parse_sides({"augmented_real": {"of": "x", "judge": "discriminator"}})
    real = Sample(torch.zeros(len(logits), 2), {}, lambda x, condition: DiscriminatorOutput(logits))
    return Turn(sides, {}, Batch(torch.zeros(len(logits), 2)), {}, samples={"augmented_real": real})


def after(layer, logits, turns, player="discriminator"):
    """The probability after so many turns."""
    for _ in range(turns):
        layer.after_turn(player, turn(logits))
    return layer.p.item()


def probability_on_rank(rank):
    """p after four turns: one half of the global batch has positive logits, the other mostly positive ones."""
    logits = torch.tensor([1.0] * 8 + [1.0] * 6 + [-1.0] * 2)  # r = 0.75 over all; 1 and 0.5 on two ranks
    n = len(logits) // ranks.world_size()
    return after(AdaptiveAugment(speed=1000), logits[rank * n : (rank + 1) * n], 4)
