"""How often the memorisation alarm is raised, by the fraction of copies among the samples and how they are changed.

    python benchmarks/memorisation.py                          # digits: 897 trained on, 450 held out, 450 samples
    python benchmarks/memorisation.py --root path/of/data      # MNIST: 500 trained on, 500 held out, 1,000 samples

Each repetition splits all data at random into a training set, held-out images and samples.  Samples are new images,
except for a fraction of copies of distinct training images.  Features are those of the shipped classifier; as in
`saddlepoint memorisation`, only pixels are used for membership.  False alarms are counted over `--draws` splits without
copies.
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


def unchanged(x, generator):
    return x


def shifted(x, generator):
    """Translate by two pixels along at least one axis and at most two along the other, padded with background."""
    moves = [(dy, dx) for dy in range(-2, 3) for dx in range(-2, 3) if max(abs(dy), abs(dx)) == 2]
    chosen = torch.randint(len(moves), (len(x),), generator=generator).tolist()
    padded = torch.nn.functional.pad(x, (2, 2, 2, 2), value=-1.0)
    high, wide = x.shape[2:]
    return torch.stack([
        image[:, 2 - dy : 2 - dy + high, 2 - dx : 2 - dx + wide]
        for image, (dy, dx) in zip(padded, (moves[i] for i in chosen), strict=True)
    ])  # fmt: skip


def noisy(x, generator):
    """Add N(0, 0.1^2) noise, in units of [-1, 1]."""
    return (x + 0.1 * torch.randn(x.shape, generator=generator)).clamp(-1, 1)


def mirrored(x, generator):
    return x.flip(-1)


TRANSFORMS = {"exact": unchanged, "2-pixel shift": shifted, "noise 0.1": noisy, "flip": mirrored}


def views(x, classifier):
    """Return what is compared for images in [-1, 1]: their pixels as stored, and features."""
    pixels = to_uint8(x.clone())
    with torch.no_grad():
        return {"pixels": to_float(pixels), "features": classifier(pixels).features}


def spaces(samples, train, held_out):
    return {
        name: find_space_neighbours(
            samples[name], train[name], held_out[name], with_moves=name == "pixels", exchangeable=name == "pixels"
        )
        for name in samples
    }


def mixed(fresh, copies, number):
    """Replace the first `number` of the fresh samples by copies."""

    def join(one, other):
        return Neighbours(*(torch.cat([a[:number], b[number:]]) for a, b in zip(one, other, strict=True)))

    return {
        name: neighbours._replace(
            sample_to_train=join(copies[name].sample_to_train, neighbours.sample_to_train),
            sample_to_held_out=join(copies[name].sample_to_held_out, neighbours.sample_to_held_out),
        )
        for name, neighbours in fresh.items()
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", help="folder that contains MNIST/raw; default: digits")
    parser.add_argument("--repetitions", type=int, default=20, help="per cell of the table")
    parser.add_argument("--draws", type=int, default=200, help="splits without copies, for the rate of false alarms")
    parser.add_argument("--level", type=float, default=0.025, help="of the alarm")
    arguments = parser.parse_args()
    if arguments.root:
        name, splits, sizes, data = "mnist", ("train", "validation"), (500, 500, 1000), MNIST(arguments.root)
    else:
        name, splits, sizes, data = "digits", ("train", "validation", "test"), (897, 450, 450), Digits()
    classifier = Shipped(name)
    pool = torch.cat([data.split(split).x for split in splits])
    n_train, n_held_out, n = sizes
    rings = {(kind, fraction): [] for kind in TRANSFORMS for fraction in FRACTIONS}
    false, start = [], time.perf_counter()
    try:
        for cut in range(max(arguments.draws, arguments.repetitions)):
            generator = torch.Generator().manual_seed(cut)
            images = to_float(pool[torch.randperm(len(pool), generator=generator)[: sum(sizes)]])
            train, held_out, samples = (views(x, classifier) for x in images.split(sizes))
            fresh = spaces(samples, train, held_out)
            for kind in TRANSFORMS if cut < arguments.repetitions else ():
                copied = views(TRANSFORMS[kind](train["pixels"][: round(n * max(FRACTIONS))], generator), classifier)
                copies = spaces(copied, train, {what: x[:1] for what, x in held_out.items()})
                theirs = {
                    what: find_space_neighbours(
                        copied[what], held_out[what], held_out[what][:1], what == "pixels"
                    ).sample_to_train
                    for what in copied
                }
                copies = {what: one._replace(sample_to_held_out=theirs[what]) for what, one in copies.items()}
                for fraction in FRACTIONS:
                    result = memorisation_alarm(
                        mixed(fresh, copies, round(n * fraction)), n_train, n_held_out, arguments.level, cut
                    )
                    rings[kind, fraction].append(result.rings)
            if cut < arguments.draws:
                false.append(memorisation_alarm(fresh, n_train, n_held_out, arguments.level, cut).rings)
            if cut % 10 == 9:
                print(f"# {cut + 1} cuts, {time.perf_counter() - start:.0f} s, {sum(false)} false", flush=True)
    except KeyboardInterrupt:
        print("# interrupted: counts so far")
    done = len(rings["flip", FRACTIONS[-1]])
    print(
        f"{name}: {n_train} trained on, {n_held_out} held out, {n} samples, level {arguments.level}, {done} times each"
    )
    least = min_detectable_copies(n_train, n_held_out, n, min(n, n_held_out), arguments.level)
    print(f"an alarm needs at least {least} copies\n")
    print("| copies | " + " | ".join(f"{fraction:.0%} ({round(n * fraction)})" for fraction in FRACTIONS) + " |")
    print("|---" * (1 + len(FRACTIONS)) + "|")
    for kind in TRANSFORMS if done else ():
        print(f"| {kind} | " + " | ".join(f"{sum(rings[kind, fraction]) / done:.0%}" for fraction in FRACTIONS) + " |")
    print(f"\nfalse alarms on fresh samples: {sum(false)} of {len(false)}")


if __name__ == "__main__":
    main()
