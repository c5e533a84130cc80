"""How often the alarm for copies rings, by the part of samples that are copies and how these were changed.

    python benchmarks/memorisation.py                          # digits: 897 trained on, 450 held out, 450 samples
    python benchmarks/memorisation.py --root ../shared/data    # MNIST: 500 trained on, 500 held out, 1,000 samples

Each repetition cuts the data's whole pool anew, at random: into a training set, held-out images, and samples.  Samples
are fresh images, but for the part that is made of copies of distinct training images.  Features are the shipped
classifier's; as in `saddlepoint memorisation`, only pixels are asked who was a member.  False alarms are counted over
`--draws` cuts without any copy.
"""

import argparse
import time

import torch

from saddlepoint.data.digits import Digits
from saddlepoint.data.mnist import MNIST
from saddlepoint.evaluation.memorisation_alarm import find_space_neighbours, memorisation_alarm, min_detectable_copies
from saddlepoint.evaluation.memorisation_statistics import Neighbours
from saddlepoint.extractor.classifier import Shipped
from saddlepoint.pixel import to_float, to_uint8

FRACTIONS = (0.01, 0.05, 0.1, 0.5)


def exact(x, random):
    return x


def shifted(x, random):
    """Moved by two pixels along one side at least and by two at most along the other; what comes in is background."""
    moves = [(dy, dx) for dy in range(-2, 3) for dx in range(-2, 3) if max(abs(dy), abs(dx)) == 2]
    chosen = torch.randint(len(moves), (len(x),), generator=random).tolist()
    padded = torch.nn.functional.pad(x, (2, 2, 2, 2), value=-1.0)
    high, wide = x.shape[2:]
    return torch.stack([
        image[:, 2 - dy : 2 - dy + high, 2 - dx : 2 - dx + wide]
        for image, (dy, dx) in zip(padded, (moves[i] for i in chosen), strict=True)
    ])  # fmt: skip


def noisy(x, random):
    """N(0, 0.1^2) added, in units of [-1, 1]."""
    return (x + 0.1 * torch.randn(x.shape, generator=random)).clamp(-1, 1)


def mirrored(x, random):
    return x.flip(-1)


TRANSFORMS = {"exact": exact, "2-pixel shift": shifted, "noise 0.1": noisy, "flip": mirrored}


def shown(x, classifier):
    """What is compared, of images in [-1, 1]: their pixels as stored, and features."""
    stored = to_uint8(x.clone())
    with torch.no_grad():
        return {"pixels": to_float(stored), "features": classifier(stored).features}


def spaces(samples, train, held):
    return {
        name: find_space_neighbours(
            samples[name], train[name], held[name], with_moves=name == "pixels", exchangeable=name == "pixels"
        )
        for name in samples
    }


def mixed(fresh, copies, number):
    """The first `number` of the copies, and the rest of the fresh samples."""

    def joined(one, other):
        return Neighbours(*(torch.cat([a[:number], b[number:]]) for a, b in zip(one, other, strict=True)))

    return {
        name: own._replace(
            sample_to_train=joined(copies[name].sample_to_train, own.sample_to_train),
            sample_to_held_out=joined(copies[name].sample_to_held_out, own.sample_to_held_out),
        )
        for name, own in fresh.items()
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", help="the folder that holds MNIST/raw; without it, digits")
    parser.add_argument("--repetitions", type=int, default=20, help="per cell of the table")
    parser.add_argument("--draws", type=int, default=200, help="of fresh samples, for the rate of false alarms")
    parser.add_argument("--level", type=float, default=0.025, help="of the alarm")
    words = parser.parse_args()
    if words.root:
        name, splits, sizes, data = "mnist", ("train", "validation"), (500, 500, 1000), MNIST(words.root)
    else:
        name, splits, sizes, data = "digits", ("train", "validation", "test"), (897, 450, 450), Digits()
    classifier = Shipped(name)
    pool = torch.cat([data.split(split).x for split in splits])
    n_train, n_held, n = sizes
    rings = {(kind, part): [] for kind in TRANSFORMS for part in FRACTIONS}
    false, began = [], time.perf_counter()
    try:
        for cut in range(max(words.draws, words.repetitions)):
            random = torch.Generator().manual_seed(cut)
            drawn = to_float(pool[torch.randperm(len(pool), generator=random)[: sum(sizes)]])
            train, held, samples = (shown(x, classifier) for x in drawn.split(sizes))
            fair = spaces(samples, train, held)
            for kind in TRANSFORMS if cut < words.repetitions else ():
                made = shown(TRANSFORMS[kind](train["pixels"][: round(n * max(FRACTIONS))], random), classifier)
                copies = spaces(made, train, {what: x[:1] for what, x in held.items()})
                theirs = {
                    what: find_space_neighbours(
                        made[what], held[what], held[what][:1], what == "pixels"
                    ).sample_to_train
                    for what in made
                }
                copies = {what: one._replace(sample_to_held_out=theirs[what]) for what, one in copies.items()}
                for part in FRACTIONS:
                    found = memorisation_alarm(mixed(fair, copies, round(n * part)), n_train, n_held, words.level, cut)
                    rings[kind, part].append(found.rings)
            if cut < words.draws:
                false.append(memorisation_alarm(fair, n_train, n_held, words.level, cut).rings)
            if cut % 10 == 9:
                print(f"# {cut + 1} cuts, {time.perf_counter() - began:.0f} s, {sum(false)} false", flush=True)
    except KeyboardInterrupt:
        print("# stopped: what was counted so far")
    done = len(rings["flip", FRACTIONS[-1]])
    print(f"{name}: {n_train} trained on, {n_held} held out, {n} samples, level {words.level}, {done} times each")
    print(f"it takes {min_detectable_copies(n_train, n_held, n, min(n, n_held), words.level)} copies at least\n")
    print("| copies | " + " | ".join(f"{part:.0%} ({round(n * part)})" for part in FRACTIONS) + " |")
    print("|---" * (1 + len(FRACTIONS)) + "|")
    for kind in TRANSFORMS if done else ():
        print(f"| {kind} | " + " | ".join(f"{sum(rings[kind, part]) / done:.0%}" for part in FRACTIONS) + " |")
    print(f"\nfalse alarms on fresh samples: {sum(false)} of {len(false)}")


if __name__ == "__main__":
    main()
