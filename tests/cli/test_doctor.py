"""saddlepoint doctor."""

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
from saddlepoint.data import image_file
from saddlepoint.error import Mistake
from saddlepoint.experiment import diagnosis
from saddlepoint.experiment.diagnosis import diagnose
from saddlepoint.extractor import inception
from saddlepoint.extractor.classifier import shipped_classifiers
from saddlepoint.extractor.extractor import Extractor, Features


def findings(*overrides):
    return {finding.name: finding for finding in diagnose(compose(overrides, command="doctor"))}


def test_everything_that_a_run_needs_is_checked(tmp_path):
    result = findings(f"outputs={tmp_path}")
    data = {"digits", "mnist", "fashion_mnist", "cifar10_jpeg"}
    extractors = {"classifiers", "extractor digits", "extractor digits-b", "inception"}
    assert {"python", "packages", "cpu", "accelerators", "outputs", "cache", "W&B"} | data | extractors <= set(result)
    needed = (
        "python",
        "packages",
        "outputs",
        "cache",
        "digits",
        "classifiers",
        "extractor digits",
        "extractor digits-b",
    )
    assert all(result[name].passed for name in needed)
    assert "extractor inception" not in result  # only on request
    assert "train 897, validation 450, test 450" in result["digits"].state


@pytest.fixture
def uncertified(monkeypatch):
    """Without the checks of extractors."""
    monkeypatch.setattr(diagnosis, "_check_extractors", lambda *given: iter(()))


def test_every_problem_has_its_remedy(tmp_path, monkeypatch):
    monkeypatch.setenv("SADDLEPOINT_DATA", str(tmp_path / "nowhere"))
    (tmp_path / "file").write_text("")
    result = findings(f"outputs={tmp_path / 'file' / 'x'}")
    assert not result["outputs"].passed
    assert "outputs=" in result["outputs"].remedy
    assert not result["mnist"].passed
    assert str(tmp_path / "nowhere") in result["mnist"].remedy
    assert "weights-inception-2015-12-05-6726825d.pth" in result["inception"].remedy
    assert all(finding.remedy for finding in result.values() if not finding.passed)


@pytest.mark.usefixtures("uncertified")
def test_the_exit_code_is_0_if_training_can_start_and_else_1(tmp_path, capsys):
    assert main(["doctor", f"outputs={tmp_path}"]) == 0
    (tmp_path / "file").write_text("")
    assert main(["doctor", f"outputs={tmp_path / 'file' / 'x'}"]) == 1
    printed = capsys.readouterr().out
    assert "saddlepoint doctor" in printed
    assert "[green]" not in printed


@pytest.mark.usefixtures("uncertified")
def test_a_data_set_without_a_host_is_not_called_downloadable(tmp_path, monkeypatch):
    monkeypatch.setenv("SADDLEPOINT_DATA", str(tmp_path))
    result = findings(f"outputs={tmp_path}")
    assert "downloaded on first use" in result["mnist"].remedy
    assert "cannot be downloaded" in result["cifar10_jpeg"].remedy
    assert f"data.root={tmp_path} lacks cifar10-train.zip" in result["cifar10_jpeg"].remedy


def test_the_images_of_a_folder_are_checked_by_their_headers_without_decoding(tmp_path, monkeypatch):
    monkeypatch.setenv("SADDLEPOINT_DATA", str(tmp_path))
    monkeypatch.setattr(image_file, "decode_image", None)
    with zipfile.ZipFile(tmp_path / "cifar10-train.zip", "w") as pack:
        for number in range(30):
            content = io.BytesIO()
            edge = 16 if number == 29 else 32
            Image.fromarray(np.zeros((edge, edge, 3), dtype=np.uint8)).save(content, "jpeg")
            pack.writestr(f"class{number % 10}/{number}.jpg", content.getvalue())
    assert diagnosis._check_data("cifar10_jpeg").state == "train 24, validation 3, test 3"
    arguments = diagnosis._check_data("cifar10_jpeg", needed=True)
    assert not arguments.passed
    assert "16" in arguments.remedy


@pytest.mark.usefixtures("uncertified")
def test_missing_requested_data_give_exit_code_1(tmp_path, capsys, monkeypatch):
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
    result = {finding.name: finding for finding in diagnosis._check_extractors(False, None)}
    assert result["extractor digits-b"].passed
    assert not result["extractor digits"].passed
    known = shipped_classifiers()["digits"]["certificate"]["fid"]
    assert result["extractor digits"].state == f"fid {known:.6g}, known {1.01 * known:.6g}"
    assert main(["doctor", f"outputs={tmp_path}"]) == 1
    assert "known" in capsys.readouterr().out


def test_an_extractor_is_not_certified_on_other_images(monkeypatch):
    listed = shipped_classifiers()
    listed["digits"]["data_sha256"] = "0" * 64
    monkeypatch.setattr(diagnosis, "shipped_classifiers", lambda: listed)
    result = next(diagnosis._check_extractors(False, None))
    assert result.name == "extractor digits"
    assert not result.passed
    assert result.needed
    assert "000000000000..." in result.state


def test_slow_extractors_are_certified_on_request_if_their_data_are_available(tmp_path, monkeypatch):
    monkeypatch.setenv("SADDLEPOINT_DATA", str(tmp_path / "nowhere"))
    *_, later = diagnosis._check_extractors(False, None)
    assert later.name.startswith("extractors ")
    assert "mnist" in later.name
    assert "cifar10-jpeg" in later.name
    assert "certify=true" in later.remedy
    assert later.passed
    arguments = findings(f"outputs={tmp_path}", "certify=true")
    assert arguments["extractor mnist"].state == "not certified: mnist is missing"
    assert arguments["extractor mnist"].passed  # nothing is known against it
    assert arguments["extractor digits"].passed
    assert "as known" in arguments["extractor digits"].state
    assert arguments["extractor inception"].state.startswith("not certified")
    assert not any(name.startswith("extractors ") for name in arguments)


def test_certify_is_true_or_false(tmp_path):
    with pytest.raises(Mistake, match="certify=3: certify is true or false"):
        doctor.command(compose([f"outputs={tmp_path}", "certify=3"], command="doctor"))


class TenClasses(Extractor):
    """Assigns each image to one of ten classes by its pixel: an Inception score of 10."""

    name, sha256, dim, classes = "ten", "00", 1, 10

    def forward(self, x):
        return Features(x.float().flatten(1)[:, :1], torch.nn.functional.one_hot(x[:, 0, 0, 0].long(), 10) * 1e4)


def test_inception_is_certified_by_cifar10s_published_score(tmp_path, monkeypatch):
    x = (torch.arange(200) % 10).to(torch.uint8).view(-1, 1, 1, 1).expand(-1, 3, 2, 2)

    def result(images=lambda: x):
        monkeypatch.setattr(diagnosis, "Inception", lambda cache: TenClasses())
        monkeypatch.setattr(diagnosis, "load_cifar10_train_images", images)
        return diagnosis._certify_inception(tmp_path, None)

    monkeypatch.setattr(inception, "find_weights", lambda cache: None)
    assert "its weights are missing" in result().state
    monkeypatch.setattr(inception, "find_weights", lambda cache: tmp_path / "weights.pth")
    wrong = result()
    assert not wrong.passed
    assert wrong.needed
    assert wrong.state == "inception_score 10.000 of CIFAR-10's 200 training images, known 11.24 +- 0.05"
    monkeypatch.setattr(diagnosis, "CIFAR10_TRAIN", 10.04)
    assert result().passed
    monkeypatch.setattr(diagnosis, "CIFAR10_TRAIN", 10.06)
    assert not result().passed
    absent = result(images=lambda: None)
    assert "the pixel values of JPEG copies differ" in absent.state

    def broken():
        raise Mistake("download CIFAR-10 again")

    assert result(images=broken).remedy == "download CIFAR-10 again"


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
