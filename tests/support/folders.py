"""Run folders as training leaves them, written by hand: their scores are chosen, not trained."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

KEY = "fid_digits_900_train"
UNTRAINED = 100.0


def contract(**changes: Any) -> dict[str, Any]:
    """The contract of a FID of 900 digits."""
    return {
        "metric": "fid", "n_real": 897, "n_fake": 900, "split": "train", "data": "81c3" * 16, "resolution": "1x8x8",
        "resizer": "none", "extractor": "digits", "extractor_sha256": "4de4" * 16, "weights": "averaged", "seed": 0,
        "library": "saddlepoint", "version": "1", "settings": {}, "batch_norm": "running", **changes,
    }  # fmt: skip


def chosen_by(value: float, **changes: Any) -> dict[str, Any]:
    """What summary.json says of the score that chose the best checkpoint: a FID on the validation split."""
    return {"value": value, "std": None, "contract": contract(split="validation", n_fake=450, **changes), "images": 500}


def config(seed: int, objective: str = "hinge", **changes: Any) -> dict[str, Any]:
    """A config in which an objective, a learning rate and the number of images stand; `changes` by first key."""
    whole = {
        "name": f"digits-{objective}",
        "seed": seed,
        "images": 1000,
        "device": "cpu",
        "shared": [],
        "objective": {"generator": {"_target_": f"saddlepoint.objective.{objective}.generator", "label": 1.0}},
        "optimizer": {"generator": {"lr": 1e-3}},
        "choice": {"data": "digits", "objective": objective, "regularizer": [], "callback": ["grid"]},
    }
    return {**whole, **changes}


def run(
    outputs: Path,
    name: str,
    seed: int,
    final: float | None = 10.0,
    *,
    status: str | None = "finished",
    untrained: float | None = UNTRAINED,
    curve: Sequence[tuple[int, float]] = ((500, 20.0),),
    key: str = KEY,
    others: Mapping[str, dict[str, Any]] | None = None,
    measured: Mapping[str, Any] | None = None,
    summary: Mapping[str, Any] | None = None,
    **settings: Any,
) -> Path:
    """One run folder; status None: without summary.json. `measured` changes the contract, `settings` the config."""
    folder = outputs / name / f"seed{seed}"
    (folder / "samples").mkdir(parents=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(config(seed, **settings), sort_keys=False))
    rows: list[dict[str, Any]] = [{"images": 0, "seconds": 0.5, key: untrained}] if untrained is not None else []
    rows += [{"images": images, "seconds": images / 100, key: score} for images, score in curve]
    if final is not None:
        rows += [{"images": 1000, "seconds": 10.0, key: final, "final": True}]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    provenance = {"git": {"commit": "abc1234", "dirty": False}, "hardware": {"accelerators": []}}
    (folder / "provenance.json").write_text(json.dumps(provenance))
    if status is not None:
        scores = {key: {"value": final, "std": None, "contract": contract(**(measured or {}))}, **(others or {})}
        told = {"status": status, "images": 1000, "seconds": 10.0, "peak_memory_mib": 500.0,
                "final": scores if status == "finished" and final is not None else {}, **(summary or {})}  # fmt: skip
        (folder / "summary.json").write_text(json.dumps(told))
    return folder


def arm(outputs: Path, objective: str, finals: Sequence[float], **more: Any) -> list[Path]:
    """Runs of one objective, seeds 0, 1, ..., by their final scores."""
    return [run(outputs, objective, seed, final, objective=objective, **more) for seed, final in enumerate(finals)]
