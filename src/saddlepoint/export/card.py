"""The model card: a page for people, with the few lines on top that the Hugging Face hub reads.

Written from plain values alone (card.json holds the same): what is not on record is said to be unknown, and nothing is
rounded up to a claim.  Its fields follow Mitchell et al. 2019 (arXiv:1810.03993) as far as a run can fill them.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

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


def page(facts: Facts) -> str:
    """The card as Markdown, of what `command.export` has gathered."""
    parts = [
        _front(facts),
        f"# {facts['name']}, seed {facts['seed']}",
        _what(facts),
        f"![samples]({PICTURE})",
        "## Use",
        *_uses(facts),
        "## Data",
        _data(facts),
        "## Scores",
        *_scores(facts),
        "## Seeds",
        _seeds(facts),
        "## Memorisation",
        _memorisation(facts["memorisation"]),
        "## Files",
        *_files(facts),
        "## Limits",
        "\n".join(f"* {line}" for line in _limits(facts)),
        "## How it was made",
        *_made(facts),
        "## Licence",
        _licence(facts),
    ]
    return "\n\n".join(parts) + "\n"


def _front(facts: Facts) -> str:
    """What the hub reads; every value as JSON, which is YAML."""
    choice = facts["choice"]
    tags = ["gan", "saddlepoint", choice.get("data"), choice.get("architecture"), choice.get("objective")]
    tags += [facts["generator"]["modality"], "conditional" if facts["generator"]["conditions"] else None]
    tags += [name for name in ("onnx", "safetensors") if name in facts["formats"]]
    lines = {"license": facts["licence"] or "unknown", "library_name": "saddlepoint"}
    if (task := _task(facts["generator"])) is not None:
        lines["pipeline_tag"] = task
    every = {**lines, "tags": [str(tag) for tag in dict.fromkeys(tags) if tag]}
    return "---\n" + "\n".join(f"{key}: {json.dumps(value)}" for key, value in every.items()) + "\n---"


def _what(facts: Facts) -> str:
    made, choice = facts["generator"], facts["choice"]
    latent = ", ".join(f"`{name}` {shape}" for name, shape in made["latent"].items())
    asked = ", ".join(f"`{name}` {_kind(own)}" for name, own in made["conditions"].items())
    given = " under ".join(filter(None, [latent, asked]))
    terms = f" with {', '.join(choice['regularizer'])}" if choice.get("regularizer") else ""
    moment = "its end" if facts["at"] == "last" else f"its {facts['at']}" if facts["at"] == "best" else "a snapshot"
    ended = "" if facts["status"] == "finished" else f" **The run is {facts['status']}: this is no final model.**"
    return (
        f"The generator of a generative adversarial network: {given} to {made['samples']} {made['shape']}, "
        f"{made['parameters']:,} parameters ({facts['weights']} weights). Architecture {choice.get('architecture')}, "
        f"objective {choice.get('objective')}{terms}. Taken at {moment}, after {facts['images']:,} images shown.{ended}"
    )


def _uses(facts: Facts) -> Iterator[str]:
    """How to load each file; tested as it stands here."""
    made, formats = facts["generator"], facts["formats"]
    names = [*made["latent"], *made["conditions"]]
    zeros = [name for name, own in made["conditions"].items() if "classes" not in own]
    yield f"Values are {made['values']}. Run in this folder."
    if zeros:
        yield f"In the place of the zeros stand your own {', '.join(f'`{name}`' for name in zeros)}, a row per sample."
    if "safetensors" in formats:
        allow = f", allow={json.dumps(made['allow'])}" if made["allow"] else ""
        own = {name: _drawn(made, name, "torch") for name in made["conditions"] if name not in made["draws"]}
        drawn = ["**generator.draws(16, seed=0)"] if made["draws"] else []
        asked = ", ".join([*drawn, *(f'"{name}": {draw}' for name, draw in own.items())])
        yield "With Saddlepoint, from the weights and `config.yaml`:"
        yield _code(["import saddlepoint", *(["import torch"] if own else []), "",
                     f'generator = saddlepoint.exported("."{allow})',
                     f"x = generator(generator.latent(16, seed=0){f', {{{asked}}}' if asked else ''})"])  # fmt: skip
    if "program" in formats:
        yield f"With torch alone, in this order: {', '.join(names)}."
        draws = [_drawn(made, name, "torch") for name in names]
        yield _code(["import torch", "", 'generator = torch.export.load("generator.pt2").module()',
                     f"x = generator({', '.join(draws)})"])  # fmt: skip
    if "onnx" in formats:
        yield "With onnxruntime:"
        feed = ", ".join(f'"{name}": {_drawn(made, name, "numpy")}' for name in names)
        yield _code(["import numpy as np", "import onnxruntime", "", "draw = np.random.default_rng(0)",
                     'session = onnxruntime.InferenceSession("generator.onnx")',
                     f"(x,) = session.run(None, {{{feed}}})"])  # fmt: skip


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


def _kind(condition: Facts) -> str:
    """A condition, for people."""
    return f"(one of {condition['classes']} classes)" if "classes" in condition else str(condition["shape"])


def _task(made: Facts) -> str | None:
    """The hub's name for what it does, where it has one."""
    if made["modality"] != "image":
        return None
    if not made["conditions"]:
        return "unconditional-image-generation"
    pictures = [own for own in made["conditions"].values() if len(own.get("shape", ())) == len(made["shape"])]
    return "image-to-image" if pictures else None


def _code(lines: Sequence[str]) -> str:
    return "\n".join(["```python", *lines, "```"])


def _data(facts: Facts) -> str:
    data = facts["data"]
    sizes = ", ".join(f"{name} {size:,}" for name, size in (data.get("sizes") or {}).items()) or "unknown"
    hashes = (f"{name} {sha[:16]}" for name, sha in (data.get("sha256") or {}).items() if sha)
    lines = [data["description"] or f"{data.get('name')}: the record says no more.",
             f"Shape {data.get('shape')}, classes {data.get('classes')}; splits: {sizes}.",
             f"Terms: {TERMS.get(str(data.get('name')), OWN)}."]  # fmt: skip
    if told := ", ".join(hashes):
        lines.append(f"sha256 of the splits (first 16): {told}.")
    return "\n".join(f"* {line}" for line in lines)


def _scores(facts: Facts) -> Iterator[str]:
    scores = facts["scores"]
    if not scores:
        yield "Not measured for these weights: the record holds no score of them."
        return
    yield (
        "Each with what it was measured by; only scores of one contract can be compared. Anchors are sets of images "
        "whose worth is known, measured alike."
    )
    names = list(dict.fromkeys(name for own in facts["anchors"].values() for name in own))
    rows = []
    for key, score in scores.items():
        anchors = facts["anchors"].get(key, {})
        spread = "" if score["std"] is None else f" ± {score['std']:.2g} over its parts"
        rows.append([f"`{key}`", f"**{score['value']:.4g}**{spread}", *(_figure(anchors.get(name)) for name in names)])
    yield _table(["score", "value", *names], rows)
    yield "\n".join(f"* {line}" for line in dict.fromkeys(map(_contract, scores.values())))


def _contract(score: Facts) -> str:
    c = score["contract"]
    reals = "unknown" if c["n_real"] is None else f"{c['n_real']:,}"
    return (
        f"{c['n_fake']:,} samples ({c['weights']} weights, batch norm {c['batch_norm']}) against {reals} reals of "
        f"{c['split']} (data {c['data'][:8]}) by {c['extractor']} {c['extractor_sha256'][:8]} at {c['resolution']}, "
        f"resizer {c['resizer']}, {c['library']} {c['version']}"
    )


def _seeds(facts: Facts) -> str:
    """How much of the scores is luck."""
    failed = next((own["failed"] for own in facts["seeds"].values() if own.get("failed")), [])
    if failed:
        return (
            f"**{len(failed)} of its seeds failed** ({', '.join(map(str, failed))}): the same recipe has no mean and "
            "no spread over those that did not, which would flatter it."
        )
    told = {key: own for key, own in facts["seeds"].items() if own["mean"] is not None}
    most = max((len(own["seeds"]) for own in told.values()), default=0)
    if most < 2:
        return (
            "**One seed.** Nothing is known of how far these scores spread over seeds, and a difference from another "
            "model may be luck."
        )
    rows = [
        [
            f"`{key}`",
            str(len(own["seeds"])),
            _figure(own["mean"]),
            _figure(own["std"]),
            ", ".join(map(str, own["seeds"])),
        ]
        for key, own in told.items()
    ]
    return "The same recipe over seeds, each run at its end; the scores above are this seed's alone.\n\n" + _table(
        ["score", "runs", "mean", "std", "seeds"], rows
    )


def _memorisation(row: Facts | None) -> str:
    if row is None:
        return "Not measured. `saddlepoint memorisation run=...`, or `export memorisation=true`, does."
    alarm = row["alarm"]
    said = (
        "**The alarm rings**: samples lie nearer to training images than chance allows."
        if alarm["rings"]
        else "No alarm."
    )
    rows = [[one["statistic"], one["space"], _figure(one["samples"]), _figure(one["held_out"]), one["reading"]]
            for one in row["statistics"]]  # fmt: skip
    return (
        f"{said} p = {alarm['p']:.3g} at level {row['level']:g}; {row['n']:,} samples, {row['n_train']:,} training and "
        f"{row['n_held_out']:,} held-out images. No alarm does not show that nothing is copied.\n\n"
        + _table(["statistic", "in", "samples", "held-out", "reading"], rows)
    )


def _files(facts: Facts) -> Iterator[str]:
    checked = facts["checked"]
    of = "" if checked["split"] is None else f", under the first {checked['rows']:,} rows of {checked['split']}"
    yield (
        f"Each was read back and held against the run's own generator on {checked['rows']:,} samples{of}, in batches "
        f"of {', '.join(map(str, checked['sizes']))}; the largest difference of a value may be "
        f"{checked['tolerance']:g}."
    )
    rows = [[f"`{own['file']}`", f"{own['bytes']:,}", f"{own['difference']:.2g}", own["sha256"][:16]]
            for own in facts["formats"].values()]  # fmt: skip
    yield _table(["file", "bytes", "largest difference", "sha256"], rows)
    for name, why in facts["failed"].items():
        yield f"**No {name}:** {why}."


def _limits(facts: Facts) -> Iterator[str]:
    made = facts["generator"]
    yield f"It makes what its training data hold, {'x'.join(map(str, made['shape']))}, with their gaps and slants."
    yield "It is a model for research: nobody has looked at what it could do to people."
    if made["virtual_batch_norm"]:
        yield "Virtual batch norm's reference statistics are frozen: it cannot be trained on as it was."
    if made["batch_norm"]:
        yield "Batch norm uses its running statistics: a latent's sample does not depend on its neighbours."
    yield "The discriminator is not part of it."


def _made(facts: Facts) -> Iterator[str]:
    if facts["command"]:
        yield "The command, today's defaults left out; `training.yaml` is the whole config:"
        yield "```sh\n" + shlex.join(facts["command"]) + "\n```"
    else:
        yield "`training.yaml` is the whole config; no single command makes it from today's defaults."
    yield "\n".join(f"* {line}" for line in _origin(facts["provenance"], facts["exported"]))


def _origin(provenance: Facts, exported: Facts) -> Iterator[str]:
    yield f"code: {_commit(provenance.get('git'))}"
    if provenance.get("started"):
        took = "" if provenance.get("seconds") is None else f", {provenance['seconds']:,.0f} s of training"
        yield f"trained: {provenance['started']} to {provenance.get('ended') or 'unknown'}{took}"
    packages = {name: version for name, version in (provenance.get("packages") or {}).items() if version}
    if packages:
        told = ", ".join(f"{name} {version}" for name, version in packages.items())
        yield f"versions: Python {provenance.get('python')}, {told}"
    hardware = provenance.get("hardware") or {}
    if hardware:
        kit = ", ".join(map(str, hardware.get("accelerators") or [])) or "no accelerator"
        yield f"machine: {hardware.get('processor')}, {hardware.get('cores')} cores, {kit}"
    made = ", ".join(f"{name} {version}" for name, version in exported["packages"].items() if version)
    yield f"exported: {exported['on']}, {_commit(exported['git'])}, {made}"


def _commit(git: Facts | None) -> str:
    if not git:
        return "no commit on record"
    return f"commit {git['commit'][:12]}{', files differed from it' if git['dirty'] else ''}"


def _licence(facts: Facts) -> str:
    if facts["licence"]:
        return f"{facts['licence']}, as stated by who exported it. The data have terms of their own (above)."
    return "Not stated (`licence=` says one). The data have terms of their own (above)."


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines)


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"
