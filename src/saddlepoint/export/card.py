"""The model card: a page for people, with the few lines on top that the Hugging Face hub reads.

Written from plain values alone (card.json holds the same): what is not on record is said to be unknown, and nothing is
rounded up to a claim.  Its fields follow Mitchell et al. 2019 (arXiv:1810.03993) as far as a run can fill them.
"""

import shlex
from collections.abc import Mapping
from functools import partial
from typing import Any

from saddlepoint.template import render_template

PICTURE = "samples.png"
TERMS = {  # of data sets, where a source says so
    "digits": "of the UCI machine learning repository, as scikit-learn ships them: see its terms",
    "mnist": "LeCun & Cortes, CC BY-SA 3.0",
    "stacked_mnist": "made of MNIST: LeCun & Cortes, CC BY-SA 3.0",
    "gaussians": "drawn from a formula; nobody's rights are touched",
    "point": "one point; nobody's rights are touched",
}
OWN = "see the data's own terms"
Facts = Mapping[str, Any]


def format_card(facts: Facts) -> str:
    """The card as Markdown, of what `command.export` has gathered."""
    made, conditions = facts["generator"], facts["generator"]["conditions"]
    own = [name for name in conditions if name not in made["draws"]]
    drawn = partial(_drawn, made)
    asked = [*(["**generator.draws(16, seed=0)"] if made["draws"] else []),
             *(f'"{name}": {drawn(name, "torch")}' for name in own)]  # fmt: skip
    latent = ", ".join(f"`{name}` {shape}" for name, shape in made["latent"].items())
    kinds = {name: f"(one of {of['classes']} classes)" if "classes" in of else of["shape"]
             for name, of in conditions.items()}  # fmt: skip
    under = ", ".join(f"`{name}` {kind}" for name, kind in kinds.items())
    seeds = {key: of for key, of in facts["seeds"].items() if of["mean"] is not None}
    return render_template(
        "export/card.md.j2",
        facts=facts,
        front=_front(facts),
        picture=PICTURE,
        given=" under ".join(filter(None, [latent, under])),
        names=[*made["latent"], *conditions],
        zeros=[f"`{name}`" for name, of in conditions.items() if "classes" not in of],
        own=own,
        asked=", ".join(asked),
        drawn=drawn,
        terms=TERMS.get(str(facts["data"].get("name")), OWN),
        anchors=list(dict.fromkeys(name for of in facts["anchors"].values() for name in of)),
        contracts=dict.fromkeys(map(_contract, facts["scores"].values())),
        failed=next((of["failed"] for of in facts["seeds"].values() if of.get("failed")), []),
        seeds=seeds if max((len(of["seeds"]) for of in seeds.values()), default=0) > 1 else {},
        command=shlex.join(facts["command"] or []),
    )


def _front(facts: Facts) -> dict[str, Any]:
    """What the hub reads."""
    choice = facts["choice"]
    tags = ["gan", "saddlepoint", choice.get("data"), choice.get("architecture"), choice.get("objective")]
    tags += [facts["generator"]["modality"], "conditional" if facts["generator"]["conditions"] else None]
    tags += [name for name in ("onnx", "safetensors") if name in facts["formats"]]
    task = _task(facts["generator"])
    return {
        "license": facts["licence"] or "unknown",
        "library_name": "saddlepoint",
        **({"pipeline_tag": task} if task else {}),
        "tags": [str(tag) for tag in dict.fromkeys(tags) if tag],
    }


def _task(made: Facts) -> str | None:
    """The hub's name for what it does, where it has one."""
    if made["modality"] != "image":
        return None
    if not made["conditions"]:
        return "unconditional-image-generation"
    pictures = [own for own in made["conditions"].values() if len(own.get("shape", ())) == len(made["shape"])]
    return "image-to-image" if pictures else None


def _drawn(made: Facts, name: str, library: str) -> str:
    """16 rows of an input, as code of torch or numpy: latents as in training, each class in turn, else zeros."""
    torch = library == "torch"
    if name in made["conditions"]:
        own = made["conditions"][name]
        if "classes" in own:
            return f"{'torch' if torch else 'np'}.arange(16) % {own['classes']}"
        shape = ", ".join(map(str, (16, *own["shape"])))
        kind = (
            f", dtype={'torch' if torch else 'np'}.{own['dtype']}" if (own["dtype"], torch) != ("float32", True) else ""
        )
        return f"torch.zeros({shape}{kind})" if torch else f"np.zeros(({shape}){kind})"
    kind, shape = made["distribution"][name], ", ".join(map(str, made["latent"][name]))
    low, high = kind.get("low", -1.0), kind.get("high", 1.0)
    of = {
        ("normal", "torch"): f"torch.randn(16, {shape})",
        ("uniform", "torch"): f"torch.empty(16, {shape}).uniform_({low}, {high})",
        ("categorical", "torch"): f"torch.eye({shape})[torch.randint({shape}, (16,))]",
        ("normal", "numpy"): f"draw.standard_normal((16, {shape}), dtype=np.float32)",
        ("uniform", "numpy"): f"draw.uniform({low}, {high}, (16, {shape})).astype(np.float32)",
        ("categorical", "numpy"): f"np.eye({shape}, dtype=np.float32)[draw.integers({shape}, size=16)]",
    }
    return of.get((kind["name"], library), of["normal", library])


def _contract(score: Facts) -> str:
    c = score["contract"]
    reals = "unknown" if c["n_real"] is None else f"{c['n_real']:,}"
    return (
        f"{c['n_fake']:,} samples ({c['weights']} weights, batch norm {c['batch_norm']}) against {reals} reals of "
        f"{c['split']} (data {c['data'][:8]}) by {c['extractor']} {c['extractor_sha256'][:8]} at {c['resolution']}, "
        f"resizer {c['resizer']}, {c['library']} {c['version']}"
    )
