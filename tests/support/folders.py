"""Run folders for tests with given scores, in the format that training writes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

KEY = "fid_digits_900_train"
UNTRAINED = 100.0


def contract(**changes: Any) -> dict[str, Any]:
    """Return the contract of a FID of 900 digits."""
    return {
        "metric": "fid", "n_real": 897, "n_fake": 900, "split": "train", "data": "81c3" * 16, "resolution": "1x8x8",
        "resizer": "none", "extractor": "digits", "extractor_sha256": "4de4" * 16, "weights": "averaged", "seed": 0,
        "library": "saddlepoint", "version": "1", "settings": {}, "batch_norm": "running", **changes,
    }  # fmt: skip


def chosen_by(value: float, **changes: Any) -> dict[str, Any]:
    """Return the entry of summary.json for the score that selected the best checkpoint: a validation FID."""
    return {"value": value, "std": None, "contract": contract(split="validation", n_fake=450, **changes), "images": 500}


def config(seed: int, objective: str = "hinge", **changes: Any) -> dict[str, Any]:
    """Return a config with an objective, a learning rate and a number of images; `changes` replace top-level keys."""
    values = {
        "name": f"digits-{objective}",
        "seed": seed,
        "images": 1000,
        "device": "cpu",
        "shared": [],
        "objective": {"generator": {"_target_": f"saddlepoint.objective.{objective}.generator", "label": 1.0}},
        "optimizer": {"generator": {"lr": 1e-3}},
        "choice": {"data": "digits", "objective": objective, "regularizer": [], "callback": ["grid"]},
    }
    return {**values, **changes}


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
    """Write one run folder; status None: no summary.json. `measured` changes the contract, `settings` the config."""
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
        content = {"status": status, "images": 1000, "seconds": 10.0, "peak_memory_mib": 500.0,
                "final": scores if status == "finished" and final is not None else {}, **(summary or {})}  # fmt: skip
        (folder / "summary.json").write_text(json.dumps(content))
    return folder


def arm(outputs: Path, objective: str, finals: Sequence[float], **more: Any) -> list[Path]:
    """Write runs of one objective with these final scores, seeds 0, 1, ..."""
    return [run(outputs, objective, seed, final, objective=objective, **more) for seed, final in enumerate(finals)]
