"""Small networks without noise or batch norm for the wirings in conf/game, and their losses written by hand."""

from pathlib import Path

import torch
from sliced import play
from torch import nn
from torch.nn.functional import softplus

from saddlepoint import ranks
from saddlepoint.config.compose import compose
from saddlepoint.config.instantiate import instantiate
from saddlepoint.layer.mapping_network import MappingNetwork
from saddlepoint.stream import Stream
from saddlepoint.turn import Batch, DiscriminatorOutput

CONF = Path(__file__).parent / "conf"
GAMES = sorted(path.stem for path in (CONF / "game").glob("*.yaml"))
N = 8


def concatenate(x, condition):
    """Every tensor of x and of its condition, flattened and concatenated."""
    tensors = [*(x.values() if isinstance(x, dict) else [x])]
    tensors += list(condition.values()) if isinstance(condition, dict) else []
    return torch.cat([tensor.flatten(1).to(tensors[0].dtype) for tensor in tensors], 1)


class Net(nn.Module):
    """Maps `inputs` values, of x and its condition, to `outputs` values."""

    def __init__(self, inputs, outputs, width=8):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(inputs, width), nn.Tanh(), nn.Linear(width, outputs))

    def forward(self, x, condition=None):
        return self.layers(concatenate(x, condition))


class Judge(Net):
    """A discriminator with one logit."""

    def __init__(self, inputs, width=8):
        super().__init__(inputs, 1, width)

    def forward(self, x, condition=None):
        return DiscriminatorOutput(super().forward(x, condition).flatten())


class Mapped(Net):
    """A generator with a mapping network; it returns (x, w)."""

    def __init__(self, inputs, outputs, dim=4):
        super().__init__(dim, outputs)
        self.mapping = MappingNetwork(inputs, dim, depth=1, multiplier=1.0, decay=0.5)

    def forward(self, latent, condition=None):
        w = self.mapping(concatenate(latent, None))
        return self.layers(w), w


class Encoder(Net):
    """A Gaussian posterior of z; its noise is a condition."""

    def __init__(self, inputs, dim, width=8):
        super().__init__(inputs, 2 * dim, width)

    def forward(self, x, condition):
        mean, log_variance = self.layers(x.flatten(1)).chunk(2, 1)
        return {"z": mean + (log_variance / 2).exp() * condition["noise"]}, (mean, log_variance)


def away_from_real(real):
    """The objective of BiGAN's encoder, which minimises E log D(x, E(x))."""
    return softplus(real).mean()


def game_of(name, *overrides):
    """The game of a YAML in float64, always with the same initial weights."""
    base = ["data=gaussians", f"game={name}", "prior.z.dim=" + ("2" if name == "cycle_points" else "3")]
    config = compose([*base, *overrides, "allow_target=[wired]"], CONF)
    torch.manual_seed(3)
    return instantiate(config.game, "game").double()


def batches(rounds, seed=1):
    stream = torch.Generator().manual_seed(seed)
    rows = [torch.randn(N, 3, generator=stream, dtype=torch.float64) for _ in range(rounds)]
    return [Batch(row[:, :2], extra_columns={"source": row[:, 2:]}) for row in rows]


def ns_d(real, fake):
    return softplus(-real).mean() + softplus(fake).mean()


def ns_g(fake):
    return softplus(-fake).mean()


# the loss of each player in the first round, written by hand: (networks, draws, x, source) -> loss
def vae_gan_points(p, z, x, source):
    mean, log_variance = p["encoder"].layers(x).chunk(2, 1)
    code = mean + (log_variance / 2).exp() * z["noise"]
    recon, fake = p["generator"].layers(code), p["generator"].layers(z["latent"])
    kl = (mean**2 + log_variance.exp() - 1 - log_variance).sum(1).mean() / 2
    distance = ((recon - x) ** 2).mean()

    def d(points):
        return p["discriminator"].layers(points)[:, 0]

    return {
        "discriminator": 0.5 * ns_d(d(x), d(fake)) + 0.5 * ns_d(d(x), d(recon)),
        "encoder": 0.1 * kl + distance,
        "generator": ns_g(d(fake)) + 0.5 * ns_g(d(recon)) + 2 * distance,
    }


def cycle_points(p, z, x, source):
    a, b = x, z["other"]
    fake_b, fake_a = p["g_ab"].layers(a), p["g_ba"].layers(b)
    d_a, d_b = (lambda points, name=name: p[name].layers(points)[:, 0] for name in ("d_a", "d_b"))
    cycle_loss = (p["g_ba"].layers(fake_b) - a).abs().mean() + (p["g_ab"].layers(fake_a) - b).abs().mean()

    def least_squares(d, real, fake):
        return ((d(real) - 1) ** 2).mean() / 2 + (d(fake) ** 2).mean() / 2

    leaf = b.detach().requires_grad_()
    (slope,) = torch.autograd.grad(d_b(leaf).sum(), leaf, create_graph=True)
    return {
        "g_ab": ((d_b(fake_b) - 1) ** 2).mean() / 2 + cycle_loss,
        "g_ba": ((d_a(fake_a) - 1) ** 2).mean() / 2 + cycle_loss,
        "d_a": least_squares(d_a, a, fake_a.detach()),  # the pool of 12 returns the first 8 unchanged
        "d_b": least_squares(d_b, b, fake_b.detach()) + 0.1 * (slope**2).sum(1).mean() / 2,
    }


def pix2pix(p, z, x, source):
    fake = p["generator"].layers(torch.cat([source, z["latent"]], 1))

    def d(points):
        return p["discriminator"].layers(torch.cat([points, source], 1))[:, 0]

    return {"discriminator": ns_d(d(x), d(fake)), "generator": ns_g(d(fake)) + 10 * (fake - x).abs().mean()}


def bigan_points(p, z, x, source):
    def d(points, code):
        return p["discriminator"].layers(torch.cat([points, code], 1))[:, 0]

    real, fake = d(x, p["encoder"].layers(x)), d(p["generator"].layers(z["latent"]), z["latent"])
    return {"discriminator": ns_d(real, fake), "encoder": softplus(real).mean(), "generator": ns_g(fake)}


def two_discriminators(p, z, x, source):
    fake = p["generator"].layers(z["latent"])
    d1, d2 = (lambda points, name=name: p[name].layers(points)[:, 0] for name in ("d1", "d2"))
    penalties = {}
    for name, points in (("real", x), ("fake", fake)):
        leaf = points.detach().requires_grad_()
        (slope,) = torch.autograd.grad(d2(leaf).sum(), leaf, create_graph=True)
        penalties[name] = (slope**2).sum(1).mean() / 2
    hinge = torch.relu(1 - d2(x)).mean() + torch.relu(1 + d2(fake)).mean()
    return {
        "d1": ns_d(d1(x), d1(fake)),
        "d2": hinge + 0.3 * penalties["real"] + 0.2 * penalties["fake"],
        "generator": 0.7 * ns_g(d1(fake)) + 0.3 * ns_g(d2(fake)),
    }


def unrolled_points(p, z, x, source):
    def logits(weights, points):
        w1, b1, w2, b2 = weights
        return (torch.tanh(points @ w1.T + b1) @ w2.T + b2)[:, 0]

    def loss(weights, fake):
        leaf = x.detach().requires_grad_()
        (slope,) = torch.autograd.grad(logits(weights, leaf).sum(), leaf, create_graph=True)
        return ns_d(logits(weights, x), logits(weights, fake)) + 0.3 * (slope**2).sum(1).mean() / 2

    fake = p["generator"].layers(z["latent"])
    weights = list(p["discriminator"].layers.parameters())
    unrolled = weights
    for _ in range(3):
        gradients = torch.autograd.grad(loss(unrolled, fake), unrolled, create_graph=True)
        unrolled = [w - 0.2 * gradient for w, gradient in zip(unrolled, gradients, strict=True)]
    return {"discriminator": loss(weights, fake.detach()), "generator": ns_g(logits(unrolled, fake))}


def path_length(p, z, x, source):
    seeds = Stream(0, "augment", joint=True).integers(2**31 - 1, N).tolist()
    y = torch.stack([torch.randn(2, generator=torch.Generator().manual_seed(s), dtype=torch.float64) for s in seeds])
    w = p["generator"].mapping(z["latent"])
    fake = p["generator"].layers(w)
    (slope,) = torch.autograd.grad((fake * y).sum(), w, create_graph=True)
    lengths = (slope**2).sum(1).sqrt()
    penalty = ((lengths - lengths.mean().detach()) ** 2).mean()  # the running mean starts with that of the first turn

    def d(points):
        return p["discriminator"].layers(points)[:, 0]

    return {"discriminator": ns_d(d(x), d(fake)), "generator": ns_g(d(fake)) + 0.5 * 2 * penalty}


def weights_after(rank, name, rounds=5):
    """Every tensor of a game after some rounds, as arrays; each rank plays on its slice."""
    torch.set_default_dtype(torch.float64)
    n = N // ranks.world_size()
    rows = slice(rank * n, (rank + 1) * n)
    data = [batch.map(lambda column: column[rows]) for batch in batches(rounds)]
    state = play(game_of(name), rank, data).state_dict()
    return {key: value.clone().numpy() for key, value in state.items() if isinstance(value, torch.Tensor)}


def all_weights(rank):
    return {name: weights_after(rank, name) for name in GAMES}
