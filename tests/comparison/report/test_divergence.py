"""The first point at which two curves part, and the differences between their runs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from folders import run

from saddlepoint.comparison.arms.record import load_record
from saddlepoint.comparison.report.divergence import (
    describe_divergence,
    find_divergence,
    format_differences,
    run_differences,
)
from saddlepoint.error import Mistake

KEY = "generator/adversarial"


def write_journal(folder: Path, *rows: tuple[int, dict[str, float]]) -> None:
    """Write metrics.jsonl from (images, values); the seconds differ in every run."""
    events = [{"images": images, "seconds": 0.1 * len(str(folder)), **values} for images, values in rows]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in events))


@pytest.fixture
def a(tmp_path: Path) -> Path:
    folder = run(tmp_path, "a", 0)
    write_journal(folder, (0, {"fid": 9.0}), (64, {KEY: 1.0}), (128, {KEY: 0.5, "d": 2.0}), (128, {"fid": 5.0}))
    return folder


@pytest.fixture
def b(a: Path) -> Path:
    return shutil.copytree(a, a.parents[1] / "another" / "seed0")


def test_a_copy_has_no_differences_and_an_equal_curve(a: Path, b: Path) -> None:
    write_journal(b, (0, {"fid": 9.0}), (64, {KEY: 1.0}), (128, {KEY: 0.5, "d": 2.0}), (128, {"fid": 5.0}))
    assert run_differences(load_record(a), load_record(b)) == []
    divergence = find_divergence(load_record(a), load_record(b))
    assert (divergence.events, divergence.equal, divergence.images) == (3, 3, None)
    assert (
        "equal, bit for bit, at all 3 common points"
        in describe_divergence(load_record(a), load_record(b), divergence)[0]
    )


def test_curves_part_at_the_first_value_whose_last_bit_differs(a: Path, b: Path) -> None:
    write_journal(b, (0, {"fid": 9.0}), (64, {KEY: 1.0 + 2**-52}), (128, {KEY: 7.0, "d": 2.0}))
    divergence = find_divergence(load_record(a), load_record(b))
    assert (divergence.images, divergence.key, divergence.a, divergence.b, divergence.equal, divergence.keys) == (
        64,
        KEY,
        1.0,
        1.0 + 2**-52,
        1,
        1,
    )


def test_events_are_matched_by_images_and_those_of_only_one_run_are_reported(a: Path, b: Path) -> None:
    write_journal(b, (0, {"fid": 9.0}), (32, {KEY: 3.0}), (96, {KEY: 3.0}), (128, {"fid": 6.0, KEY: 0.5}))
    divergence = find_divergence(load_record(a), load_record(b))
    assert (divergence.events, divergence.images, divergence.key, divergence.a, divergence.b) == (
        2,
        128,
        "fid",
        5.0,
        6.0,
    )
    sentences = describe_divergence(load_record(a), load_record(b), divergence)
    assert "2 points are only in b, from 32 images on." in sentences


def test_nan_equals_nan(a: Path, b: Path) -> None:
    for folder in (a, b):
        write_journal(folder, (0, {KEY: float("nan")}))
    divergence = find_divergence(load_record(a), load_record(b))
    assert divergence.images is None
    sentences = describe_divergence(load_record(a), load_record(b), divergence)
    assert sentences == ["Their curves are equal, bit for bit, at the one common point."]


def test_curves_without_a_common_point_are_reported(a: Path, b: Path) -> None:
    write_journal(b, (1, {KEY: 1.0}))
    assert (
        "no point in common"
        in describe_divergence(load_record(a), load_record(b), find_divergence(load_record(a), load_record(b)))[0]
    )


def test_differences_are_listed_by_config_data_environment_commit_and_end(tmp_path: Path) -> None:
    folders = [
        run(tmp_path, "a", 0),
        run(tmp_path, "b", 0, None, status="diverged", optimizer={"generator": {"lr": 2.0}}),
    ]
    for i, folder in enumerate(folders):
        (folder / "provenance.json").write_text(json.dumps({
            "started": f"{i}", "git": {"commit": "abcdef"[i]}, "packages": {"torch": f"2.{i}", "numpy": "2"},
            "hardware": {"cores": 2}, "data": {"sha256": {"train": f"{i}"}},
        }))  # fmt: skip
    differences = {(part, key): (x, y) for part, key, x, y in run_differences(*map(load_record, folders))}
    assert differences == {
        ("config", "optimizer.generator.lr"): (0.001, 2),
        ("data", "sha256.train"): ("0", "1"),
        ("environment", "packages.torch"): ("2.0", "2.1"),
        ("commit", "commit"): ("a", "b"),
        ("end", "status"): ("finished", "diverged"),
    }
    lines = format_differences(run_differences(*map(load_record, folders)))
    assert lines[:2] == ["config", "  optimizer.generator.lr: 0.001 -> 2.0"]


def test_equal_parts_are_named(a: Path, b: Path) -> None:
    write_journal(b, (0, {"fid": 9.0}))
    assert format_differences(run_differences(load_record(a), load_record(b))) == [
        "config, data, environment, commit, end: the same"
    ]


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Mistake, match="is not a run folder"):
        load_record(tmp_path)
