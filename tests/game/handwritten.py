"""The game written out by hand, importing nothing of Saddlepoint: what twenty rounds must come to."""

import copy
import hashlib

import torch
from torch.nn.functional import relu, softplus


def stream(seed, name):
    number = int.from_bytes(hashlib.sha256(f"{seed}/{name}".encode()).digest()[:8], "big") >> 1
    return torch.Generator().manual_seed(number)


DISCRIMINATOR = {
    "minimax": lambda r, f: softplus(-r).mean() + softplus(f).mean(),
    "nonsaturating": lambda r, f: softplus(-r).mean() + softplus(f).mean(),
    "hinge": lambda r, f: relu(1 - r).mean() + relu(1 + f).mean(),
    "wasserstein": lambda r, f: f.mean() - r.mean(),
    "relativistic": lambda r, f: softplus(f - r).mean(),
}
GENERATOR = {
    "minimax": lambda r, f: -softplus(f).mean(),
    "nonsaturating": lambda r, f: softplus(-f).mean(),
    "hinge": lambda r, f: -f.mean(),
    "wasserstein": lambda r, f: -f.mean(),
    "relativistic": lambda r, f: softplus(r - f).mean(),
}


def slope2(logits, x):
    (gradient,) = torch.autograd.grad(logits.sum(), x, create_graph=True)
    return gradient.flatten(1).pow(2).sum(1)


def play(G, D, data, objective, penalties, every_g, simultaneous, adam, half_life, warm_up, seed, z=3):
    """Returns the average of G after playing `data` (a list of tensors); G and D are changed in place.

    penalties: {name: (weight, every)}
    """
    latents, between = stream(seed, "latent"), stream(seed, "augment")
    opt_d, opt_g = torch.optim.Adam(D.parameters(), **adam), torch.optim.Adam(G.parameters(), **adam)
    average = copy.deepcopy(G)
    images = followed = d_turns = 0

    def d_loss(x, fake, logits_r, logits_f):
        loss = DISCRIMINATOR[objective](logits_r, logits_f)
        for name, (weight, every) in penalties.items():
            if d_turns % every:
                continue
            if name == "r1":
                loss = loss + weight * every * slope2(logits_r, x).mean() / 2
            elif name == "r2":
                loss = loss + weight * every * slope2(logits_f, fake).mean() / 2
            else:
                e = torch.rand(len(x), 1, generator=between)
                middle = (e * x.detach() + (1 - e) * fake.detach()).requires_grad_()
                norm = (slope2(D(middle).flatten(), middle) + 1e-12).sqrt()
                loss = loss + weight * every * ((norm - 1) ** 2).mean()
        return loss

    for number, x in enumerate(data, 1):
        n = len(x)
        generating = number % every_g == 0
        if simultaneous:
            x = x.clone().requires_grad_()
            fake = G(torch.randn(n, 16, generator=latents)[:, :z])
            r, f = D(x).flatten(), D(fake).flatten()
            of_d = torch.autograd.grad(d_loss(x, fake, r, f), list(D.parameters()), retain_graph=True)
            of_g = torch.autograd.grad(GENERATOR[objective](r, f), list(G.parameters()))
            for p, g in zip([*D.parameters(), *G.parameters()], [*of_d, *of_g], strict=True):
                p.grad = g
            opt_d.step()
            opt_g.step()
        else:
            fake = G(torch.randn(n, 16, generator=latents)[:, :z]).detach().requires_grad_()
            real = x.clone().requires_grad_()
            opt_d.zero_grad()
            d_loss(real, fake, D(real).flatten(), D(fake).flatten()).backward()
            opt_d.step()
            if generating:
                opt_g.zero_grad()
                fake = G(torch.randn(n, 16, generator=latents)[:, :z])
                GENERATOR[objective](
                    D(x).flatten() if objective == "relativistic" else None, D(fake).flatten()
                ).backward()
                opt_g.step()
        d_turns += 1
        images += n
        if generating:
            half = min(half_life, warm_up * images)
            keep = 0.5 ** ((images - followed) / half)
            followed = images
            with torch.no_grad():
                live = G.state_dict()
                for name, value in average.state_dict().items():
                    if value.is_floating_point():
                        value.copy_(keep * value + (1 - keep) * live[name])
    return average
