"""A run and its data: those that changed are not gone on with, and a path leads to one folder from everywhere."""

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
from saddlepoint.config.identity import identity
from saddlepoint.error import Mistake
from saddlepoint.experiment.build import load_data
from saddlepoint.experiment.run_config import load_run_config
from saddlepoint.run import data_content
from saddlepoint.run.folder import Run

FOLDER = ["data=image_folder", "data.channels=1", "metric=[]", "images=640"]


def noise(folder, numbers, classes=("a", "b")):
    """8x8 images, one for each number, whose content follows from it."""
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


def test_data_that_grew_are_not_gone_on_with_unless_that_is_allowed(images):
    words = [*FOLDER, "data.folder=imgs"]
    run("out", *words)
    noise(images, range(100, 300))
    told = r"train 80 -> 240 \(sha256 \w{8} -> \w{8}\); validation 10 -> 30"
    with pytest.raises(Mistake, match=rf"begun with other data: {told}.*resume.allow=\[data\]"):
        run("out", *words, "images=1280")
    with pytest.raises(Mistake, match=rf"is finished, on other data than are there now: {told}.*resume.allow=\[data\]"):
        run("out", *words)
    assert "this run is finished" in run("out", *words, "resume.allow=[data]").said
    record = run("out", *words, "images=1280", "resume.allow=[data]")
    assert "going on with other data than before, as resume.allow says: train 80 -> 240" in record.said
    told = json.loads((record.folder / "provenance.json").read_text())
    assert (told["changed"]["at"], told["data"]["sizes"]["train"]) == (640, 240)
    assert told["changed"]["keys"][0].startswith("data: train 80 -> 240")
    assert run("out", *words, "images=1920").summary["images"] == 1920, "from there on these are its data"


def test_one_edited_image_is_other_data_and_data_that_are_gone_leave_a_finished_run_as_it_is(images):
    words = [*FOLDER, "data.folder=imgs", "data.shape=[1,8,8]", "data.classes=2"]
    record = run("out", *words)
    for path in sorted(images.rglob("*.png")):  # one of them was trained on
        Image.fromarray(np.zeros((8, 8), np.uint8)).save(path)
        break
    with pytest.raises(Mistake, match=r"is finished, on other data than are there now: \w+ \d+ -> \d+ \(sha256"):
        run("out", *words)
    images.rename(images.with_name("gone"))
    assert run("out", *words).folder == record.folder


@pytest.mark.parametrize("zipped", [False, True])
def test_data_that_are_read_from_disk_are_told_by_their_files(images, zipped):
    place = images
    if zipped:
        place = images.with_suffix(".zip")

        def packed():
            with zipfile.ZipFile(place, "w") as archive:
                for path in sorted(images.rglob("*.png")):
                    archive.write(path, path.relative_to(images).as_posix())

        packed()
    words = [*FOLDER, f"data.folder={place}", "data.memory=0", "data.workers=0"]
    run("out", *words)
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(images / "a" / "000.png")
    if zipped:
        packed()
    with pytest.raises(Mistake, match=r"names or sizes of files \(sha256"):
        run("out", *words, "images=1280")


@pytest.mark.slow  # several processes, ten seconds or more
def test_train_m_names_finished_runs_whose_data_changed(images, capsys):
    words = ["train", "-m", "seed=0,1", *SMALL[1:], *FOLDER, "data.folder=imgs", "outputs=out"]
    assert main(words) == 0
    assert main(words) == 0
    noise(images, range(100, 300))
    capsys.readouterr()
    assert main(words) == 1
    said = " ".join(capsys.readouterr().err.split())
    assert said.count("is finished, on other data than are there now: train 80 -> 240") == 2


@pytest.mark.parametrize("command", ["evaluate", "memorisation", "against"])
def test_a_run_is_not_measured_on_other_data_than_its_own_unless_they_are_named(images, command, capsys, tmp_path):
    words = [*FOLDER[:2], "data.folder=imgs", "images=640", "data.validation=0.3", "data.test=0.3"]
    record = run("out", *words, "metric=[]")
    noise(images, range(100, 200))
    small = ["metric=[nearest_neighbour_error]", "data.extractor=null"]
    asked = {
        "evaluate": ["evaluate", f"run={record.folder}", *small],
        "memorisation": ["memorisation", f"run={record.folder}", "n=60", "data.extractor=null"],
        "against": ["evaluate", f"run={record.folder}", f"against={record.folder}", *small],
    }[command]
    assert main(asked) == 1
    said = " ".join(capsys.readouterr().err.split())
    assert "was trained on other data than are there now: train 40 -> 80" in said
    assert f"data.folder={images}" in said
    main([*asked, f"data.folder={images}"])
    said = " ".join(capsys.readouterr().err.split())
    assert f"override: data.folder={images}" in said
    assert "these are not the data that the run was trained on: train 40 -> 80" in said


def test_a_folder_of_other_classes_is_told_by_their_names(images, tmp_path, capsys):
    record = run("out", *FOLDER, "data.folder=imgs")
    noise(tmp_path / "other", range(100), ("a", "c"))
    main(["evaluate", f"run={record.folder}", "data.folder=other", "metric=[]"])
    assert "classes a, b -> a, c" in " ".join(capsys.readouterr().err.split())


def test_what_one_description_lacks_is_not_compared():
    now = {"name": "x", "shape": [1], "sizes": {"train": 3}, "sha256": {"train": "a" * 64}, "files": "b" * 64}
    for then in ({}, {"name": "x"}, {"sizes": {"train": 3}, "sha256": {"train": None}}, now):
        assert data_content.data_differences(then, now) == []
    assert data_content.data_differences({**now, "sizes": {"train": 4}, "sha256": {}}, now) == ["train 4 -> 3"]
    assert data_content.data_differences({**now, "sha256": {"train": "c" * 64}}, now) == [
        "train 3 -> 3 (sha256 cccccccc -> aaaaaaaa)"
    ]
    assert data_content.data_differences({**now, "files": "d" * 64}, now) == [], "the same pixels, saved anew"


# ---------------------------------------------------------------------------------------------------------------- paths


def test_a_folder_is_one_identity_however_it_is_spelled(images, monkeypatch):
    facts = ["data=image_folder", "data.channels=1"]
    spelled = ["imgs", "./imgs/", "imgs/", str(images), f"{images}/", "imgs/../imgs"]
    configs = [compose([*facts, f"data.folder={name}"]) for name in spelled]
    assert {config.data.folder for config in configs} == {str(images)}
    assert len({identity(config) for config in configs}) == len({config.name for config in configs}) == 1
    monkeypatch.setenv("HOME", str(images.parent))
    home = compose([*facts, "data.folder=~/imgs"])
    assert (home.data.folder, identity(home)) == (str(images), identity(compose([*facts, "data.folder=imgs"])))


def test_a_run_finds_its_folder_from_everywhere(images, tmp_path, monkeypatch):
    record = run(tmp_path / "out", *FOLDER, "data.folder=imgs")
    elsewhere = tmp_path / "elsewhere"
    noise(elsewhere / "imgs", range(100, 200))
    monkeypatch.chdir(elsewhere)
    config = load_run_config(Run(record.folder))
    assert config.data.folder == str(images)
    assert load_data(config).describe() == json.loads((record.folder / "provenance.json").read_text())["data"]


def test_a_run_of_an_edition_with_relative_paths_keeps_its_name_and_is_refused_from_elsewhere(images, monkeypatch):
    words = [*SMALL, *FOLDER, "data.folder=imgs"]
    config = compose(words)
    name = f"image_folder-mlp-nonsaturating-{identity(config, folder='imgs')[:8]}"
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
    with pytest.raises(Mistake, match=r"was trained on other data than are there now: train 80 -> 80 \(sha256"):
        evaluate(Path("..", record.folder), console=Console(file=io.StringIO()))


def test_roots_and_weights_are_absolute_and_what_the_environment_has_stays(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SADDLEPOINT_DATA", raising=False)
    config = compose(["data=mnist", "evaluation.weights=w.pt"])
    assert (config.data.root, config.evaluation.weights) == (str(tmp_path / "data"), str(tmp_path / "w.pt"))
    monkeypatch.setenv("SADDLEPOINT_DATA", "/somewhere")
    config = compose(["data=mnist"])
    monkeypatch.setenv("SADDLEPOINT_DATA", "/elsewhere")
    assert config.data.root == "/elsewhere"
