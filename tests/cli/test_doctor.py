"""The examination of a machine."""

import io
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision.datasets
from PIL import Image

from saddlepoint.cli import doctor, main
from saddlepoint.config.compose import compose
from saddlepoint.data import image_folder
from saddlepoint.error import Mistake
from saddlepoint.experiment import diagnosis
from saddlepoint.experiment.diagnosis import diagnose
from saddlepoint.extractor import inception
from saddlepoint.extractor.classifier import shipped_classifiers
from saddlepoint.extractor.extractor import Extractor, Features


def findings(*overrides):
    return {finding.what: finding for finding in diagnose(compose(overrides, command="doctor"))}


def test_everything_that_a_run_may_need_is_looked_at(tmp_path):
    found = findings(f"outputs={tmp_path}")
    data = {"digits", "mnist", "fashion_mnist", "cifar10_jpeg"}
    extractors = {"classifiers", "extractor digits", "extractor digits-b", "inception"}
    assert {"python", "packages", "cpu", "accelerators", "outputs", "cache", "W&B"} | data | extractors <= set(found)
    needed = ("python", "packages", "outputs", "cache", "digits", "classifiers", "extractor digits", "extractor digits-b")
    assert all(found[name].well for name in needed)
    assert "extractor inception" not in found  # only on request
    assert "train 897, validation 450, test 450" in found["digits"].state


@pytest.fixture
def uncertified(monkeypatch):
    """Rulers are not looked at."""
    monkeypatch.setattr(diagnosis, "_check_extractors", lambda *given: iter(()))


def test_every_problem_has_its_remedy(tmp_path, monkeypatch):
    monkeypatch.setenv("SADDLEPOINT_DATA", str(tmp_path / "nowhere"))
    (tmp_path / "file").write_text("")
    found = findings(f"outputs={tmp_path / 'file' / 'x'}")
    assert not found["outputs"].well
    assert "outputs=" in found["outputs"].remedy
    assert not found["mnist"].well
    assert str(tmp_path / "nowhere") in found["mnist"].remedy
    assert "weights-inception-2015-12-05-6726825d.pth" in found["inception"].remedy
    assert all(finding.remedy for finding in found.values() if not finding.well)


@pytest.mark.usefixtures("uncertified")
def test_it_exits_0_where_training_can_begin_and_1_where_it_cannot(tmp_path, capsys):
    assert main(["doctor", f"outputs={tmp_path}"]) == 0
    (tmp_path / "file").write_text("")
    assert main(["doctor", f"outputs={tmp_path / 'file' / 'x'}"]) == 1
    assert "saddlepoint doctor" in capsys.readouterr().out


@pytest.mark.usefixtures("uncertified")
def test_a_data_set_that_nobody_hosts_is_not_said_to_be_downloaded(tmp_path, monkeypatch):
    monkeypatch.setenv("SADDLEPOINT_DATA", str(tmp_path))
    found = findings(f"outputs={tmp_path}")
    assert "downloaded on first use" in found["mnist"].remedy
    assert "cannot be downloaded" in found["cifar10_jpeg"].remedy
    assert f"data.root={tmp_path} lacks cifar10-train.zip" in found["cifar10_jpeg"].remedy


def test_a_folder_of_images_is_looked_over_without_decoding_it_and_header_by_header_where_it_is_asked_for(
    tmp_path, monkeypatch
):
    monkeypatch.setenv("SADDLEPOINT_DATA", str(tmp_path))
    monkeypatch.setattr(image_folder, "decode_image", None)  # what would decode
    with zipfile.ZipFile(tmp_path / "cifar10-train.zip", "w") as pack:
        for number in range(30):
            content = io.BytesIO()
            edge = 16 if number == 29 else 32
            Image.fromarray(np.zeros((edge, edge, 3), dtype=np.uint8)).save(content, "jpeg")
            pack.writestr(f"class{number % 10}/{number}.jpg", content.getvalue())
    assert diagnosis._check_data("cifar10_jpeg").state == "train 24, validation 3, test 3"
    asked = diagnosis._check_data("cifar10_jpeg", needed=True)
    assert not asked.well
    assert "16" in asked.remedy


@pytest.mark.usefixtures("uncertified")
def test_data_that_were_asked_for_and_cannot_be_had_make_it_exit_1(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("SADDLEPOINT_DATA", str(tmp_path))
    assert main(["doctor", f"outputs={tmp_path}", "data=digit"]) == 1
    assert "digits" in capsys.readouterr().out
    assert main(["doctor", f"outputs={tmp_path}", "data=cifar10_jpeg"]) == 1
    assert main(["doctor", f"outputs={tmp_path}", "data=mnist"]) == 0  # training downloads it
    assert main(["doctor", f"outputs={tmp_path}", "data=gaussians"]) == 0


# ------------------------------------------------------------------------------------------------------ certificates


def test_an_extractor_with_other_figures_is_reported_and_exits_1(tmp_path, monkeypatch, capsys):
    listed = shipped_classifiers()
    listed["digits"]["certificate"]["fid"] *= 1.01
    monkeypatch.setattr(diagnosis, "shipped_classifiers", lambda: listed)
    found = {finding.what: finding for finding in diagnosis._check_extractors(False, None)}
    assert found["extractor digits-b"].well
    assert not found["extractor digits"].well
    known = shipped_classifiers()["digits"]["certificate"]["fid"]
    assert found["extractor digits"].state == f"fid {known:.6g}, known {1.01 * known:.6g}"
    assert main(["doctor", f"outputs={tmp_path}"]) == 1
    assert "known" in capsys.readouterr().out


def test_an_extractor_is_not_certified_on_other_images(monkeypatch):
    listed = shipped_classifiers()
    listed["digits"]["data_sha256"] = "0" * 64
    monkeypatch.setattr(diagnosis, "shipped_classifiers", lambda: listed)
    found = next(diagnosis._check_extractors(False, None))
    assert found.what == "extractor digits"
    assert not found.well
    assert found.needed
    assert "000000000000..." in found.state


def test_slow_extractors_are_certified_on_request_if_their_data_are_available(tmp_path, monkeypatch):
    monkeypatch.setenv("SADDLEPOINT_DATA", str(tmp_path / "nowhere"))
    *_, later = diagnosis._check_extractors(False, None)
    assert later.what.startswith("extractors ")
    assert "mnist" in later.what
    assert "cifar10-jpeg" in later.what
    assert "certify=true" in later.remedy
    assert later.well
    asked = findings(f"outputs={tmp_path}", "certify=true")
    assert asked["extractor mnist"].state == "not certified: mnist is missing"
    assert asked["extractor mnist"].well  # nothing is known against it
    assert asked["extractor digits"].well
    assert "as known" in asked["extractor digits"].state
    assert asked["extractor inception"].state.startswith("not certified")
    assert not any(name.startswith("extractors ") for name in asked)


def test_certify_is_true_or_false(tmp_path):
    with pytest.raises(Mistake, match="certify=3: certify is true or false"):
        doctor.command(compose([f"outputs={tmp_path}", "certify=3"], command="doctor"))


class TenClasses(Extractor):
    """Certain of one of ten classes, the pixel's: an Inception score of 10."""

    name, sha256, dim, classes = "ten", "00", 1, 10

    def forward(self, x):
        return Features(x.float().flatten(1)[:, :1], torch.nn.functional.one_hot(x[:, 0, 0, 0].long(), 10) * 1e4)


def test_inception_is_certified_by_cifar10s_published_score(tmp_path, monkeypatch):
    x = (torch.arange(200) % 10).to(torch.uint8).view(-1, 1, 1, 1).expand(-1, 3, 2, 2)

    def found(images=lambda: x):
        monkeypatch.setattr(diagnosis, "Inception", lambda cache: TenClasses())
        monkeypatch.setattr(diagnosis, "load_cifar10_train_images", images)
        return diagnosis._certify_inception(tmp_path, None)

    monkeypatch.setattr(inception, "find_weights", lambda cache: None)
    assert "its weights are missing" in found().state
    monkeypatch.setattr(inception, "find_weights", lambda cache: tmp_path / "weights.pth")
    wrong = found()
    assert not wrong.well
    assert wrong.needed
    assert wrong.state == "inception_score 10.000 of CIFAR-10's 200 training images, known 11.24 +- 0.05"
    monkeypatch.setattr(diagnosis, "CIFAR10_TRAIN", 10.04)
    assert found().well
    monkeypatch.setattr(diagnosis, "CIFAR10_TRAIN", 10.06)
    assert not found().well
    absent = found(images=lambda: None)
    assert "JPEG copies have other pixels" in absent.state

    def broken():
        raise Mistake("download CIFAR-10 again")

    assert found(images=broken).remedy == "download CIFAR-10 again"


def test_the_original_cifar10_is_read_from_torchvisions_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("SADDLEPOINT_DATA", str(tmp_path))
    assert diagnosis.load_cifar10_train_images() is None
    folder = Path(tmp_path / "cifar-10-batches-py")
    folder.mkdir()
    with pytest.raises(Mistake, match="is damaged"):
        diagnosis.load_cifar10_train_images()
    rows = np.random.default_rng(0).integers(0, 256, (5, 2, 3072), dtype=np.uint8)
    for number in range(5):
        content = {"data": rows[number], "labels": [0, 1]}
        (folder / f"data_batch_{number + 1}").write_bytes(pickle.dumps(content))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": ["a", "b"]}))
    monkeypatch.setattr(torchvision.datasets.cifar, "check_integrity", lambda *given: True)
    assert torch.equal(diagnosis.load_cifar10_train_images(), torch.from_numpy(rows).view(10, 3, 32, 32))
