"""Inception loads its weights safely and equals torch-fidelity.  No downloads: the weights here are random."""

import hashlib
import http.client
import io
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch_fidelity.interpolate_compat_tensorflow import interpolate_bilinear_2d_like_tensorflow1x

from saddlepoint.error import Mistake
from saddlepoint.experiment.evaluators import load_or_train_extractor
from saddlepoint.extractor import inception
from saddlepoint.extractor.inception import Inception
from saddlepoint.extractor.resizer import ResizingExtractor, resize


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*args: Any, **kwargs: Any) -> Any:
        raise urllib.error.URLError("no route")

    monkeypatch.setattr(urllib.request, "urlopen", unreachable)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))


def pictures(n: int, seed: int, size: int = 32) -> Tensor:
    draws = torch.Generator().manual_seed(seed)
    coarse = torch.rand(n, 3, 4, 4, generator=draws) * 255
    return torch.nn.functional.interpolate(coarse, size, mode="bilinear").to(torch.uint8)


def test_features_and_logits_are_torch_fidelitys(random_weights: Path) -> None:
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    theirs = FeatureExtractorInceptionV3("theirs", ["2048", "logits_unbiased"], str(random_weights))
    before = torch.random.get_rng_state()
    ours = Inception(random_weights)
    assert torch.equal(torch.random.get_rng_state(), before)
    x = pictures(2, 0)
    features, logits, *_ = ours(x)
    assert torch.equal(features, theirs(x)[0])
    assert torch.equal(logits, theirs(x)[1])  # pyright: ignore[reportArgumentType]
    assert (features.shape, ours.dim, ours.classes) == ((2, 2048), 2048, 1008)
    grey = x[:1, :1]
    torch.testing.assert_close(ours(grey).features, ours(grey.repeat(1, 3, 1, 1)).features)
    assert ours.sha256 == hashlib.sha256(random_weights.read_bytes()).hexdigest()


@pytest.mark.usefixtures("offline")
def test_without_internet_and_weights_the_error_tells_how_to_get_them(tmp_path: Path) -> None:
    with pytest.raises(Mistake) as refused:
        Inception(cache=tmp_path)
    for text in (inception.weights_url(), str(tmp_path / "inception"), "weights=PATH", "extractor=trained"):
        assert text in str(refused.value)
    assert not list(tmp_path.rglob("*.pth"))
    with pytest.raises(Mistake, match=r"no Inception weights at .*mine\.pth"):
        Inception(tmp_path / "mine.pth")


@pytest.mark.usefixtures("offline")
def test_a_download_is_verified_kept_and_not_repeated(
    tmp_path: Path, random_weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = random_weights.read_bytes()
    sha256 = hashlib.sha256(content).hexdigest()
    served: list[str] = []

    def serve(address: str, timeout: float) -> io.BytesIO:
        served.append(address)
        return io.BytesIO(content)

    monkeypatch.setattr(urllib.request, "urlopen", serve)
    monkeypatch.setattr(inception, "weights_url", lambda: f"https://example.org/weights-{sha256[:8]}.pth")
    with pytest.raises(Mistake, match=f"another file than the published one.*{sha256}"):
        inception.load_or_download_inception_weights(None, tmp_path)
    assert not list(tmp_path.rglob("*.pth"))

    monkeypatch.setattr(inception, "SHA256", sha256)
    for _ in range(2):
        state, loaded = inception.load_or_download_inception_weights(None, tmp_path, log=served.append)
        assert loaded == sha256
        assert len(state) == 566
    assert len(served) == 3  # refused; announced and downloaded; already present
    assert inception.find_weights(tmp_path) == tmp_path / "inception" / f"weights-{sha256[:8]}.pth"


def test_a_truncated_file_is_refused(tmp_path: Path, random_weights: Path) -> None:
    cut = tmp_path / "weights-inception-2015-12-05-6726825d.pth"
    cut.write_bytes(random_weights.read_bytes()[:1000])
    with pytest.raises(Mistake, match="is incomplete") as refused:
        Inception(cut)
    for text in (
        "6726825d",
        hashlib.sha256(cut.read_bytes()).hexdigest()[:8],
        inception.weights_url(),
        "extractor=trained",
    ):
        assert text in str(refused.value)


def test_code_in_a_weights_file_is_not_run(tmp_path: Path) -> None:
    class Harm:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "harm",))

    torch.save({"weight": Harm()}, tmp_path / "weights.pth")
    with pytest.raises(Mistake, match="is not run"):
        Inception(tmp_path / "weights.pth")
    assert not (tmp_path / "harm").exists()


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    torch.save({"weight": torch.zeros(3)}, tmp_path / "weights.pth")
    with pytest.raises(Mistake, match="not the weights of torch-fidelity's Inception") as refused:
        Inception(tmp_path / "weights.pth")
    assert inception.weights_url() in str(refused.value)
    assert "extractor=trained" in str(refused.value)


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize("broken", [http.client.IncompleteRead(b"half"), OSError(28, "No space left"), TimeoutError()])
def test_an_interrupted_download_is_refused_and_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: Exception
) -> None:
    class Half(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            if self.tell():
                raise broken
            return super().read(3)

    monkeypatch.setattr(urllib.request, "urlopen", lambda address, timeout: Half(b"weights"))
    with pytest.raises(Mistake, match=r"cannot be downloaded \(\S+") as refused:
        inception.load_or_download_inception_weights(None, tmp_path, log=lambda line: None)
    assert "weights=PATH" in str(refused.value)
    assert [file.suffix for file in (tmp_path / "inception").iterdir()] in ([], [".lock"])


@pytest.mark.usefixtures("offline")
def test_a_cache_that_cannot_be_created_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Mistake, match="cannot be downloaded"):
        inception.load_or_download_inception_weights(None, tmp_path / "file", log=lambda line: None)


def test_another_resizer_replaces_that_of_inception(random_weights: Path) -> None:
    class Data:
        shape, classes = (3, 32, 32), None

    resizing = load_or_train_extractor("inception", Data(), weights=random_weights, resizer="bicubic-antialias")  # pyright: ignore[reportArgumentType]
    assert isinstance(resizing, ResizingExtractor)
    assert (resizing.name, resizing.resizer) == ("inception", "bicubic-antialias-299")
    plain = Inception(random_weights)
    assert plain.resizer == "tensorflow1-bilinear-299"
    assert resizing.sha256 == plain.sha256
    x = pictures(2, 0)
    large = resize(x, (299, 299), "bicubic-antialias")
    theirs = interpolate_bilinear_2d_like_tensorflow1x(large.float(), size=(299, 299), align_corners=False)
    assert torch.equal(theirs, large.float())  # Inception does not resize images of its input size
    assert torch.equal(resizing(x).features, plain(large).features)
    assert not torch.allclose(resizing(x[:1]).features, plain(x[:1]).features, rtol=1e-3, atol=0)
