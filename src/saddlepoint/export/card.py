"""The model card: a Markdown page with the front matter of the Hugging Face hub.

It is written from plain values only (card.json holds the same).  Facts that are not on record are reported as unknown.
The sections follow Mitchell et al. 2019 (arXiv:1810.03993) as far as a run can fill them.
"""

import shlex
from collections.abc import Mapping
from functools import partial
from typing import Any

from saddlepoint.privacy.guarantee import describe_privacy
from saddlepoint.template import render_template

PICTURE = "samples.png"
TERMS = {  # of data sets whose source states them
    "digits": "of the UCI machine learning repository, as scikit-learn ships them: see its terms",
    "mnist": "LeCun & Cortes, CC BY-SA 3.0",
    "stacked_mnist": "made of MNIST: LeCun & Cortes, CC BY-SA 3.0",
    "gaussians": "drawn from a formula; no rights apply",
    "point": "one point; no rights apply",
}
DEFAULT_TERMS = "see the data's own terms"
Facts = Mapping[str, Any]


def format_card(facts: Facts) -> str:
    """Return the model card as Markdown, from the facts that `export.export` collects."""
    generator = facts["generator"]
    conditions = generator["conditions"]
    required = [name for name in conditions if name not in generator["draws"]]  # conditions that the user has to pass
    example_code = partial(_example_code, generator)
    arguments = [*(["**generator.draws(16, seed=0)"] if generator["draws"] else []),
                 *(f'"{name}": {example_code(name, "torch")}' for name in required)]  # fmt: skip
    latent = ", ".join(f"`{name}` {shape}" for name, shape in generator["latent"].items())
    kinds = {name: f"(one of {entry['classes']} classes)" if "classes" in entry else entry["shape"]
             for name, entry in conditions.items()}  # fmt: skip
    condition = ", ".join(f"`{name}` {kind}" for name, kind in kinds.items())
    seeds = {key: spread for key, spread in facts["seeds"].items() if spread["mean"] is not None}
    return render_template(
        "export/card.md.j2",
        facts=facts,
        front_matter=_front_matter(facts),
        picture=PICTURE,
        inputs=" under ".join(filter(None, [latent, condition])),
        names=[*generator["latent"], *conditions],
        zeros=[f"`{name}`" for name, entry in conditions.items() if "classes" not in entry],
        required=required,
        arguments=", ".join(arguments),
        example_code=example_code,
        terms=TERMS.get(str(facts["data"].get("name")), DEFAULT_TERMS),
        anchors=list(dict.fromkeys(name for values in facts["anchors"].values() for name in values)),
        contracts=dict.fromkeys(map(_format_contract, facts["scores"].values())),
        failed=next((spread["failed"] for spread in facts["seeds"].values() if spread.get("failed")), []),
        seeds=seeds if max((len(spread["seeds"]) for spread in seeds.values()), default=0) > 1 else {},
        command=shlex.join(facts["command"] or []),
        privacy=describe_privacy(facts["privacy"]) if "privacy" in facts else "",
    )


def _front_matter(facts: Facts) -> dict[str, Any]:
    """Return the metadata that the Hugging Face hub reads."""
    choice = facts["choice"]
    tags = ["gan", "saddlepoint", choice.get("data"), choice.get("architecture"), choice.get("objective")]
    tags += [facts["generator"]["modality"], "conditional" if facts["generator"]["conditions"] else None]
    tags += [name for name in ("onnx", "safetensors") if name in facts["formats"]]
    task = _hub_task(facts["generator"])
    return {
        "license": facts["licence"] or "unknown",
        "library_name": "saddlepoint",
        **({"pipeline_tag": task} if task else {}),
        "tags": [str(tag) for tag in dict.fromkeys(tags) if tag],
    }


def _hub_task(generator: Facts) -> str | None:
    """Return the hub's name of the generator's task, or None if the hub has no name for it."""
    if generator["modality"] != "image":
        return None
    if not generator["conditions"]:
        return "unconditional-image-generation"
    dimensions = len(generator["shape"])
    has_images = any(len(entry.get("shape", ())) == dimensions for entry in generator["conditions"].values())
    return "image-to-image" if has_images else None


def _example_code(generator: Facts, name: str, library: str) -> str:
    """Return torch or numpy code that makes 16 rows of an input.

    Latents are drawn as in training, classes are taken in turn, and any other input is zeros.
    """
    torch = library == "torch"
    if name in generator["conditions"]:
        entry = generator["conditions"][name]
        if "classes" in entry:
            return f"{'torch' if torch else 'np'}.arange(16) % {entry['classes']}"
        shape = ", ".join(map(str, (16, *entry["shape"])))
        is_default = (entry["dtype"], torch) == ("float32", True)
        dtype = "" if is_default else f", dtype={'torch' if torch else 'np'}.{entry['dtype']}"
        return f"torch.zeros({shape}{dtype})" if torch else f"np.zeros(({shape}){dtype})"
    distribution, shape = generator["distribution"][name], ", ".join(map(str, generator["latent"][name]))
    low, high = distribution.get("low", -1.0), distribution.get("high", 1.0)
    code = {
        ("normal", "torch"): f"torch.randn(16, {shape})",
        ("uniform", "torch"): f"torch.empty(16, {shape}).uniform_({low}, {high})",
        ("categorical", "torch"): f"torch.eye({shape})[torch.randint({shape}, (16,))]",
        ("normal", "numpy"): f"draw.standard_normal((16, {shape}), dtype=np.float32)",
        ("uniform", "numpy"): f"draw.uniform({low}, {high}, (16, {shape})).astype(np.float32)",
        ("categorical", "numpy"): f"np.eye({shape}, dtype=np.float32)[draw.integers({shape}, size=16)]",
    }
    return code.get((distribution["name"], library), code["normal", library])


def _format_contract(score: Facts) -> str:
    contract = score["contract"]
    reals = "unknown" if contract["n_real"] is None else f"{contract['n_real']:,}"
    return (
        f"{contract['n_fake']:,} samples ({contract['weights']} weights, batch norm {contract['batch_norm']}) against "
        f"{reals} reals of {contract['split']} (data {contract['data'][:8]}) by {contract['extractor']} "
        f"{contract['extractor_sha256'][:8]} at {contract['resolution']}, resizer {contract['resizer']}, "
        f"{contract['library']} {contract['version']}"
    )
