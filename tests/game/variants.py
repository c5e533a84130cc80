"""Variants that only need a config: composed and trained, in a module that processes of several ranks can import."""

import sentences
import torch
from sliced import play

from saddlepoint import ranks
from saddlepoint.config.compose import compose
from saddlepoint.config.instantiate import instantiate
from saddlepoint.stream import Stream

SMALL = ["architecture.generator.widths=[16]", "architecture.discriminator.widths=[16]", "prior.z.dim=4"]
ADAPTIVE = ["game=adaptive_augment", "game.makers.augment.speed=100", "game.makers.augment.start=0.5"]
BY_CLASS = ["game=conditional", "architecture.generator.condition={label: 10}"]
TEXT = [
    "data=oracle", "data.symbols=5", "data.length=6", "data.number=64", "prior=[gumbel]",
    "regularizer=[negative_log_likelihood]", "architecture.generator.hidden=8", "architecture.generator.embedding=4",
]  # fmt: skip
JUDGED = ["game=sequence", "architecture=recurrent", "architecture.discriminator.filters=4"]
CONFIGS = {  # without batch norm or dropout, so that ranks agree
    "plain": SMALL,
    "adaptive augmentation on digits": [*SMALL, *ADAPTIVE],
    "adaptive augmentation on points": [*SMALL, *ADAPTIVE, "data=gaussians", "data.number=500"],
    "adaptive pseudo augmentation": [
        *SMALL, "game=adaptive_pseudo_augment", "game.makers.pseudo.speed=100", "game.makers.pseudo.start=0.5",
    ],
    "consistency": [*SMALL, "game=consistency", "regularizer=[balanced_consistency,latent_consistency]"],
    "projection": [*SMALL, *BY_CLASS, "+layer@architecture.discriminator.readout=projection"],
    "cgan": [*SMALL, *BY_CLASS, "architecture.discriminator.condition={label: 10}"],
    "acgan": [*SMALL, "experiment=acgan_digits"],
    "infogan": [
        *SMALL, "prior=infogan", "prior.z.dim=4", "regularizer=[mutual_information]",
        "architecture.discriminator.heads={category: 10}",
    ],
    "inpainting": [*SMALL, "experiment=inpainting_digits", "game.draws.hole.mask.place=random"],
    "growing": ["architecture=growing", "architecture.discriminator.width=4", "architecture.generator.width=4",
                "architecture.discriminator.period=48", "architecture.discriminator.fade=32", "prior.z.dim=4"],
    "tokens": [*SMALL, "architecture=sequence", "data=text_lines", "data.unit=word", "data.folder={sentences}"],
    "likelihood of tokens": [*TEXT, "game=likelihood", "architecture=recurrent_generator"],
    "Gumbel-softmax": [*TEXT, *JUDGED, "objective=relativistic", "architecture.generator.relaxation=0.5"],
    "policy gradient": [
        *TEXT, *JUDGED, "regularizer=[negative_log_likelihood,policy_gradient]",
        "game.players.generator.objective=null",
    ],
    "vae": ["experiment=vae_linear_gaussian", "data.number=500"],
}  # fmt: skip
N = 16


def config_of(name, *overrides):
    base = [
        text.format(sentences=sentences.write_sentences()) if "{sentences}" in text else text for text in CONFIGS[name]
    ]
    return compose([*base, *overrides, "optimizer=sgd", "logger=none"])


def game_of(name, *overrides):
    """The game, always with the same initial weights, and its data."""
    config = config_of(name, *overrides)
    torch.manual_seed(3)
    game, data = instantiate(config.game, "game"), instantiate(config.data, "data")
    data.setup("fit")
    game.conditions.data = data
    return game, data


def batches(data, rounds, rank=0):
    """This rank's slices of batches of the training split."""
    n = N // ranks.world_size()
    stream = Stream(1, "rows")
    rows = [stream.integers(len(data.split("train")), N) for _ in range(rounds)]
    dtype = torch.get_default_dtype()
    return [
        data.batch_at("train", row[rank * n : (rank + 1) * n]).map(
            lambda c: c.to(dtype) if c.is_floating_point() else c
        )
        for row in rows
    ]


def weights_on_rank(rank, names, rounds=6):
    """Every tensor of each game after some rounds on this rank's slices, in double precision."""
    torch.set_default_dtype(torch.float64)
    results = {}
    try:
        for name in names:
            game, data = game_of(name)
            play(game.double(), rank, batches(data, rounds, rank))
            weights = {key: value for key, value in game.state_dict().items() if isinstance(value, torch.Tensor)}
            results[name] = {key: value.clone().numpy() for key, value in weights.items()}
    finally:
        torch.set_default_dtype(torch.float32)
    return results
