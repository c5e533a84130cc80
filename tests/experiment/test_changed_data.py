"""A run and its data: a run does not resume with changed data, and paths do not depend on the working directory."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from evaluated import evaluate
from PIL import Image
from rich.console import Console
from runs import SMALL, run

from saddlepoint.cli import main
from saddlepoint.config.compose import compose
from saddlepoint.config.identity import compute_identity
from saddlepoint.error import Mistake
from saddlepoint.experiment.build import load_data
from saddlepoint.experiment.run_config import load_run_config
from saddlepoint.run import data_content
from saddlepoint.run.folder import Run

FOLDER = ["data=image_folder", "data.channels=1", "metric=[]", "images=640"]


def noise(folder, numbers, classes=("a", "b")):
    """Write 8x8 images, one per number, whose content follows from the number."""
    for i in numbers:
        path = folder / classes[i % len(classes)] / f"{i:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(i).integers(0, 256, (8, 8), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
    return folder


@pytest.fixture
def images(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return noise(tmp_path / "imgs", range(100))


def test_a_run_does_not_resume_with_more_data_unless_allowed(images):
    overrides = [*FOLDER, "data.folder=imgs"]
    run("out", *overrides)
    noise(images, range(100, 300))
    changes = r"train 80 -> 240 \(sha256 \w{8} -> \w{8}\); validation 10 -> 30"
    with pytest.raises(Mistake, match=rf"started with other data: {changes}.*resume.allow=\[data\]"):
        run("out", *overrides, "images=1280")
    with pytest.raises(
        Mistake, match=rf"is finished, and its data have changed since: {changes}.*resume.allow=\[data\]"
    ):
        run("out", *overrides)
    assert "this run is finished" in run("out", *overrides, "resume.allow=[data]").said
    record = run("out", *overrides, "images=1280", "resume.allow=[data]")
    assert "resuming with changed data, as resume.allow permits: train 80 -> 240" in record.said
    changes = json.loads((record.folder / "provenance.json").read_text())
    assert (changes["changed"]["at"], changes["data"]["sizes"]["train"]) == (640, 240)
    assert changes["changed"]["keys"][0].startswith("data: train 80 -> 240")
    assert run("out", *overrides, "images=1920").summary["images"] == 1920, "from there on these are its data"


def test_one_edited_image_changes_the_data_and_missing_data_leave_a_finished_run_unchanged(images):
    overrides = [*FOLDER, "data.folder=imgs", "data.shape=[1,8,8]", "data.classes=2"]
    record = run("out", *overrides)
    for path in sorted(images.rglob("*.png")):  # one of them was trained on
        Image.fromarray(np.zeros((8, 8), np.uint8)).save(path)
        break
    with pytest.raises(Mistake, match=r"is finished, and its data have changed since: \w+ \d+ -> \d+ \(sha256"):
        run("out", *overrides)
    images.rename(images.with_name("gone"))
    assert run("out", *overrides).folder == record.folder


@pytest.mark.parametrize("zipped", [False, True])
def test_data_that_are_read_from_disk_are_compared_by_their_files(images, zipped):
    source = images
    if zipped:
        source = images.with_suffix(".zip")

        def write_zip():
            with zipfile.ZipFile(source, "w") as archive:
                for path in sorted(images.rglob("*.png")):
                    archive.write(path, path.relative_to(images).as_posix())

        write_zip()
    overrides = [*FOLDER, f"data.folder={source}", "data.memory=0", "data.workers=0"]
    run("out", *overrides)
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(images / "a" / "000.png")
    if zipped:
        write_zip()
    with pytest.raises(Mistake, match=r"names or sizes of files \(sha256"):
        run("out", *overrides, "images=1280")


@pytest.mark.slow  # several processes, ten seconds or more
def test_train_m_names_finished_runs_whose_data_have_changed(images, capsys):
    overrides = ["train", "-m", "seed=0,1", *SMALL[1:], *FOLDER, "data.folder=imgs", "outputs=out"]
    assert main(overrides) == 0
    assert main(overrides) == 0
    noise(images, range(100, 300))
    capsys.readouterr()
    assert main(overrides) == 1
    message = " ".join(capsys.readouterr().err.split())
    assert message.count("is finished, and its data have changed since: train 80 -> 240") == 2


@pytest.mark.parametrize("command", ["evaluate", "memorisation", "against"])
def test_a_run_is_not_measured_on_changed_data_unless_an_override_chooses_them(images, command, capsys, tmp_path):
    overrides = [*FOLDER[:2], "data.folder=imgs", "images=640", "data.validation=0.3", "data.test=0.3"]
    record = run("out", *overrides, "metric=[]")
    noise(images, range(100, 200))
    small = ["metric=[nearest_neighbour_error]", "data.extractor=null"]
    commands = {
        "evaluate": ["evaluate", f"run={record.folder}", *small],
        "memorisation": ["memorisation", f"run={record.folder}", "n=60", "data.extractor=null"],
        "against": ["evaluate", f"run={record.folder}", f"against={record.folder}", *small],
    }[command]
    assert main(commands) == 1
    message = " ".join(capsys.readouterr().err.split())
    assert "have changed since it was trained: train 40 -> 80" in message
    assert f"data.folder={images}" in message
    main([*commands, f"data.folder={images}"])
    message = " ".join(capsys.readouterr().err.split())
    assert f"override: data.folder={images}" in message
    assert "measured on other data than the run was trained on: train 40 -> 80" in message


def test_a_folder_of_other_classes_is_detected_by_their_names(images, tmp_path, capsys):
    record = run("out", *FOLDER, "data.folder=imgs")
    noise(tmp_path / "other", range(100), ("a", "c"))
    main(["evaluate", f"run={record.folder}", "data.folder=other", "metric=[]"])
    assert "classes a, b -> a, c" in " ".join(capsys.readouterr().err.split())


def test_a_field_that_only_one_description_has_is_not_compared():
    now = {"name": "x", "shape": [1], "sizes": {"train": 3}, "sha256": {"train": "a" * 64}, "files": "b" * 64}
    for then in ({}, {"name": "x"}, {"sizes": {"train": 3}, "sha256": {"train": None}}, now):
        assert data_content.data_differences(then, now) == []
    assert data_content.data_differences({**now, "sizes": {"train": 4}, "sha256": {}}, now) == ["train 4 -> 3"]
    assert data_content.data_differences({**now, "sha256": {"train": "c" * 64}}, now) == [
        "train 3 -> 3 (sha256 cccccccc -> aaaaaaaa)"
    ]
    assert data_content.data_differences({**now, "files": "d" * 64}, now) == [], "the same pixels, saved anew"


# ---------------------------------------------------------------------------------------------------------------- paths


def test_the_identity_does_not_depend_on_the_spelling_of_a_folder(images, monkeypatch):
    facts = ["data=image_folder", "data.channels=1"]
    spelled = ["imgs", "./imgs/", "imgs/", str(images), f"{images}/", "imgs/../imgs"]
    configs = [compose([*facts, f"data.folder={name}"]) for name in spelled]
    assert {config.data.folder for config in configs} == {str(images)}
    assert len({compute_identity(config) for config in configs}) == len({config.name for config in configs}) == 1
    monkeypatch.setenv("HOME", str(images.parent))
    home = compose([*facts, "data.folder=~/imgs"])
    assert (home.data.folder, compute_identity(home)) == (
        str(images),
        compute_identity(compose([*facts, "data.folder=imgs"])),
    )


def test_a_run_finds_its_data_from_any_working_directory(images, tmp_path, monkeypatch):
    record = run(tmp_path / "out", *FOLDER, "data.folder=imgs")
    elsewhere = tmp_path / "elsewhere"
    noise(elsewhere / "imgs", range(100, 200))
    monkeypatch.chdir(elsewhere)
    config = load_run_config(Run(record.folder))
    assert config.data.folder == str(images)
    assert load_data(config).describe() == json.loads((record.folder / "provenance.json").read_text())["data"]


def test_a_run_with_relative_paths_keeps_its_name_and_is_refused_from_another_folder(images, monkeypatch):
    overrides = [*SMALL, *FOLDER, "data.folder=imgs"]
    config = compose(overrides)
    name = f"image_folder-mlp-nonsaturating-{compute_identity(config, folder='imgs')[:8]}"
    assert name != config.name
    record = run("out", *FOLDER, "data.folder=imgs", f"name={name}")
    file = record.folder / "config.yaml"
    file.write_text(file.read_text().replace(f"folder: {images}", "folder: imgs"))
    again = run("out", *FOLDER, "data.folder=imgs", "images=1280")
    assert (again.folder, again.summary["images"]) == (record.folder, 1280)
    assert f"folder: {images}" in file.read_text()
    assert run("out", *FOLDER, "data.folder=imgs", "seed=1").folder == record.folder.with_name("seed1"), (
        "nor is an arm cut"
    )
    file.write_text(file.read_text().replace(f"folder: {images}", "folder: imgs"))
    elsewhere = images.parent / "elsewhere"
    noise(elsewhere / "imgs", range(100, 200))
    monkeypatch.chdir(elsewhere)
    with pytest.raises(Mistake, match=r"have changed since it was trained: train 80 -> 80 \(sha256"):
        evaluate(Path("..", record.folder), console=Console(file=io.StringIO()))


def test_roots_and_weights_are_absolute_and_environment_variables_are_kept(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SADDLEPOINT_DATA", raising=False)
    config = compose(["data=mnist", "evaluation.weights=w.pt"])
    assert (config.data.root, config.evaluation.weights) == (str(tmp_path / "data"), str(tmp_path / "w.pt"))
    monkeypatch.setenv("SADDLEPOINT_DATA", "/somewhere")
    config = compose(["data=mnist"])
    monkeypatch.setenv("SADDLEPOINT_DATA", "/elsewhere")
    assert config.data.root == "/elsewhere"
