"""Inception's weights come safely, and its scores are torch-fidelity's.  No network: the weights here are random."""

import hashlib
import io
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.data import Dataset

from saddlepoint.error import Mistake
from saddlepoint.metric import inception
from saddlepoint.metric.evaluator import Evaluator
from saddlepoint.metric.extractor import Inception
from saddlepoint.metric.frechet_distance import FrechetDistance
from saddlepoint.metric.inception_score import InceptionScore


@pytest.fixture(scope="module")
def random_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of random weights: torch-fidelity's network as it is before it loads any."""
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    class Untrained(FeatureExtractorInceptionV3):
        def load_state_dict(self, *args: Any, **kwargs: Any) -> Any:
            return None

    folder = tmp_path_factory.mktemp("inception")
    torch.save({}, folder / "empty.pth")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = Untrained("untrained", ["2048"], feature_extractor_weights_path=str(folder / "empty.pth"))
    torch.save(network.state_dict(), folder / "weights.pth")
    return folder / "weights.pth"


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


class Stored(Dataset):
    def __init__(self, x: Tensor) -> None:
        self.x = x

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int) -> Tensor:
        return self.x[index]


class Reals:
    name, sha256 = "train", "00"

    def __init__(self, x: Tensor) -> None:
        self.x = x

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: Tensor) -> tuple[Tensor, None]:
        return self.x[index], None

    def batches(self, size: int) -> Any:
        return ((part, None) for part in self.x.split(size))


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


@pytest.mark.slow
def test_scores_are_torch_fidelitys(random_weights: Path) -> None:
    import torch_fidelity

    real, fake = pictures(64, 0), pictures(48, 1) // 2 + 40
    theirs = torch_fidelity.calculate_metrics(
        input1=Stored(fake),
        input2=Stored(real),
        cuda=False,
        fid=True,
        isc=True,
        isc_splits=10,
        samples_shuffle=False,
        batch_size=16,
        feature_extractor_weights_path=str(random_weights),
        cache=False,
        verbose=False,
        save_cpu_ram=True,
    )
    evaluator = Evaluator(
        Inception(random_weights), {"fid": FrechetDistance(), "inception_score": InceptionScore()}, n=48, batch=16
    )
    parts = iter((fake.float() / 127.5 - 1).split(16))
    scores = evaluator(lambda n: next(parts), Reals(real))  # pyright: ignore[reportArgumentType]
    assert list(scores) == ["fid_48_train", "inception_score_48_train"]
    assert scores["fid_48_train"].value == pytest.approx(theirs["frechet_inception_distance"], rel=1e-5)
    assert scores["inception_score_48_train"].value == pytest.approx(theirs["inception_score_mean"], rel=1e-6)
    assert scores["inception_score_48_train"].std == pytest.approx(theirs["inception_score_std"], rel=1e-4, abs=1e-9)


@pytest.mark.usefixtures("offline")
def test_without_network_and_weights_a_mistake_says_how_to_get_them(tmp_path: Path) -> None:
    with pytest.raises(Mistake) as refused:
        Inception(cache=tmp_path)
    for word in (inception.url(), str(tmp_path / "inception"), "weights=PATH", "extractor=trained"):
        assert word in str(refused.value)
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
    monkeypatch.setattr(inception, "url", lambda: "https://example.org/weights-00000000.pth")
    with pytest.raises(Mistake, match=f"something else than its name promises.*{sha256}"):
        inception.weights(None, tmp_path)
    assert not list(tmp_path.rglob("*.pth"))

    monkeypatch.setattr(inception, "url", lambda: f"https://example.org/weights-{sha256[:8]}.pth")
    for _ in range(2):
        state, found = inception.weights(None, tmp_path, say=served.append)
        assert found == sha256
        assert len(state) == 566
    assert len(served) == 3  # refused; announced and fetched; present
    assert inception.present(tmp_path) == tmp_path / "inception" / f"weights-{sha256[:8]}.pth"


def test_a_file_that_is_cut_is_not_believed(tmp_path: Path, random_weights: Path) -> None:
    cut = tmp_path / "weights-inception-2015-12-05-6726825d.pth"
    cut.write_bytes(random_weights.read_bytes()[:1000])
    with pytest.raises(Mistake, match="is not whole"):
        Inception(cut)


def test_code_in_a_file_of_weights_is_not_run(tmp_path: Path) -> None:
    class Harm:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "harm",))

    torch.save({"weight": Harm()}, tmp_path / "weights.pth")
    with pytest.raises(Mistake, match="is not run"):
        Inception(tmp_path / "weights.pth")
    assert not (tmp_path / "harm").exists()


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    torch.save({"weight": torch.zeros(3)}, tmp_path / "weights.pth")
    with pytest.raises(Mistake, match="not the weights of torch-fidelity's Inception"):
        Inception(tmp_path / "weights.pth")
