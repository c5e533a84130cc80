"""Reference statistics: files are loaded exactly, and an invalid mean or covariance is refused."""

import hashlib
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from saddlepoint.error import Mistake
from saddlepoint.evaluation import reference_statistics
from saddlepoint.evaluation.contract import Score, contract_differences
from saddlepoint.evaluation.evaluator import Evaluator
from saddlepoint.extractor.data_like import SplitLike
from saddlepoint.extractor.identity import Identity
from saddlepoint.metric.coverage import Coverage
from saddlepoint.metric.frechet_distance import FrechetDistance
from saddlepoint.metric.frechet_distance_infinity import FrechetDistanceInfinity


def covariance(d: int = 3, seed: int = 0) -> Tensor:
    return torch.cov(torch.randn(d, 50, generator=torch.Generator().manual_seed(seed), dtype=torch.float64))


def gaussian(n: int, d: int = 3) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(n)) * 1.5


@pytest.fixture
def messages() -> list[str]:
    return []


@pytest.fixture
def evaluator(messages: list[str]) -> Evaluator:
    metrics = {"fid": FrechetDistance(), "fid_infinity": FrechetDistanceInfinity(), "coverage": Coverage()}
    return Evaluator(Identity((3,)), metrics, 200, log=messages.append)


def test_a_file_of_pytorch_fid_is_loaded_exactly(tmp_path: Path) -> None:
    mu, sigma = np.arange(3.0), covariance().numpy()
    np.savez_compressed(tmp_path / "theirs.npz", mu=mu, sigma=sigma)  # as in its save_fid_stats
    statistics = reference_statistics.load_reference_statistics(tmp_path / "theirs.npz")
    np.testing.assert_array_equal(statistics.mu, mu)
    np.testing.assert_array_equal(statistics.sigma, sigma)
    assert (statistics.n, len(statistics), statistics.metadata) == (None, 0, {})
    assert statistics.sha256 == hashlib.sha256((tmp_path / "theirs.npz").read_bytes()).hexdigest()


@pytest.mark.parametrize("key", ["n", "num_images"])
def test_the_number_of_images_is_loaded_if_the_file_has_it(tmp_path: Path, key: str) -> None:
    np.savez(tmp_path / "a.npz", mu=np.zeros(3), sigma=np.eye(3), **{key: 50_000})  # pyright: ignore[reportArgumentType]
    statistics = reference_statistics.load_reference_statistics(tmp_path / "a.npz")
    assert (statistics.n, len(statistics)) == (50_000, 50_000)


EYE = np.eye(3)
BAD = {
    "no sigma": ({"mu": np.zeros(3)}, "has no sigma: it contains mu"),
    "no mu": ({"m": np.zeros(3), "s": EYE}, "has no mu: it contains m, s"),
    "a table of means": ({"mu": np.zeros((1, 3)), "sigma": EYE}, r"mu has shape \[1, 3\]"),
    "sigma of another size": ({"mu": np.zeros(4), "sigma": EYE}, r"mu has shape \[4\] and sigma \[3, 3\]"),
    "nothing": ({"mu": np.zeros(0), "sigma": np.zeros((0, 0))}, "mu has shape"),
    "nan": ({"mu": np.array([0, np.nan, 0]), "sigma": EYE}, "mu are nan or infinite"),
    "infinite": ({"mu": np.zeros(3), "sigma": np.full((3, 3), np.inf)}, "sigma are nan or infinite"),
    "asymmetric": ({"mu": np.zeros(3), "sigma": EYE + np.triu(np.full((3, 3), 1e-3), 1)}, "not symmetric"),
    "negative": ({"mu": np.zeros(3), "sigma": -EYE}, "negative variances"),
    "words": ({"mu": np.array(["a", "b", "c"]), "sigma": EYE}, "mu has dtype <U1"),
    "complex": ({"mu": np.zeros(3), "sigma": EYE * 1j}, "sigma has dtype complex128"),
    "pickled": ({"mu": np.array([{}, 1, 2], dtype=object), "sigma": EYE}, "pickled, which can run any code"),
    "half an image": ({"mu": np.zeros(3), "sigma": EYE, "n": 2.5}, "n must be the number of images, and is 2.5"),
    "nan images": ({"mu": np.zeros(3), "sigma": EYE, "num_images": np.nan}, "num_images must be"),
    "one image": ({"mu": np.zeros(3), "sigma": EYE, "n": 1}, "n must be"),
    "no json": ({"mu": np.zeros(3), "sigma": EYE, "saddlepoint": "{"}, "JSON under saddlepoint"),
}


@pytest.mark.parametrize("fault", BAD)
def test_an_invalid_mean_or_covariance_is_refused_with_its_fault(tmp_path: Path, fault: str) -> None:
    arrays, pattern = BAD[fault]
    np.savez(tmp_path / "bad.npz", **arrays)
    with pytest.raises(Mistake, match=pattern) as caught:
        reference_statistics.load_reference_statistics(tmp_path / "bad.npz")
    assert "bad.npz" in str(caught.value)
    assert len(str(caught.value).splitlines()) <= 2


def test_rounding_to_float32_leaves_a_covariance_symmetric_enough(tmp_path: Path) -> None:
    x = torch.randn(100, 30, generator=torch.Generator().manual_seed(0))
    sigma = ((x.T @ x) / 99).numpy()
    sigma[3, 4] *= 1 + 2e-7
    np.savez(tmp_path / "a.npz", mu=np.zeros(30, np.float32), sigma=sigma)
    assert reference_statistics.load_reference_statistics(tmp_path / "a.npz").sigma.dtype == torch.float64


def broken_files(folder: Path) -> dict[str, Path]:
    np.savez(folder / "whole.npz", mu=np.zeros(3), sigma=EYE)
    np.savez_compressed(folder / "packed.npz", mu=gaussian(300, 1)[:, 0], sigma=np.eye(300))
    np.save(folder / "single.npy", np.zeros(3))
    complete, packed = (folder / "whole.npz").read_bytes(), bytearray((folder / "packed.npz").read_bytes())
    packed[200] ^= 255  # inside the compressed mean
    files = {"half.npz": complete[:-40], "empty.npz": b"", "text.npz": b"mu = 0", "flipped.npz": bytes(packed)}
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return {name: folder / name for name in [*files, "single.npy", "nowhere.npz", "."]}


@pytest.mark.parametrize("name", ["half.npz", "empty.npz", "text.npz", "flipped.npz", "single.npy", "nowhere.npz", "."])
def test_a_file_that_is_not_an_npz_is_named(tmp_path: Path, name: str) -> None:
    path = broken_files(tmp_path)[name]
    with pytest.raises(Mistake) as caught:
        reference_statistics.load_reference_statistics(path)
    assert str(path) in str(caught.value)
    assert len(str(caught.value).splitlines()) <= 2


# ------------------------------------------------------------------------------------------------------ measuring


def statistics_of(evaluator: Evaluator, split: SplitLike, path: Path) -> reference_statistics.ReferenceStatistics:
    x = torch.cat(
        [evaluator.extract_features([rows], len(rows[0]), "reals").features for rows in split.batches(70)]
    ).double()
    np.savez(path, mu=x.mean(0).numpy(), sigma=torch.cov(x.T).numpy(), n=len(x))
    return reference_statistics.load_reference_statistics(path)


def score_against(
    evaluator: Evaluator, fakes: Tensor, statistics: reference_statistics.ReferenceStatistics, **fields: Any
) -> dict[str, Score]:
    remaining = iter(fakes)
    return evaluator(lambda n: torch.stack(list(islice(remaining, n))), statistics, **fields)


def test_the_statistics_of_a_split_give_the_score_of_the_split(
    tmp_path: Path, points: Callable, evaluator: Evaluator
) -> None:
    split, fakes = points().split("train"), gaussian(200)
    saved = statistics_of(evaluator, split, tmp_path / "reals.npz")
    assert saved.n == 300
    expected = evaluator(lambda n: fakes[:n], split)  # one batch of 200
    scores = score_against(evaluator, fakes, saved, weights="none", batch_norm="none")
    for metric in ("fid", "fid_infinity"):
        one, two = expected[f"{metric}_identity_200_train"], scores[f"{metric}_identity_200_statistics"]
        assert two.value == pytest.approx(one.value, rel=1e-9)
        assert set(contract_differences(one.contract, two.contract)) == {"split", "data", "weights", "batch_norm"}
    assert evaluator(lambda n: fakes[:n], split)["fid_identity_200_train"].value == pytest.approx(
        expected["fid_identity_200_train"].value, rel=1e-12
    )  # and the evaluator measures against the split again


def test_only_the_frechet_distance_uses_statistics_and_others_are_logged(
    tmp_path: Path, evaluator: Evaluator, messages: list[str]
) -> None:
    np.savez(tmp_path / "theirs.npz", mu=np.zeros(3), sigma=EYE)
    scores = score_against(
        evaluator, gaussian(200), reference_statistics.load_reference_statistics(tmp_path / "theirs.npz")
    )
    assert set(scores) == {"fid_identity_200_statistics", "fid_infinity_identity_200_statistics"}
    contract = scores["fid_identity_200_statistics"].contract
    assert (contract.n_real, contract.split, contract.resolution) == (None, "statistics", "3")
    assert contract.data == hashlib.sha256((tmp_path / "theirs.npz").read_bytes()).hexdigest()
    assert [message for message in messages if "coverage" in message] == [
        "coverage is left out: it needs the reals, and theirs.npz has only their mean and covariance."
    ]
    assert scores["fid_identity_200_statistics"].value == pytest.approx(3 * 0.5**2, abs=0.3)


def test_statistics_of_another_number_of_features_are_refused_with_both_numbers(
    tmp_path: Path, evaluator: Evaluator
) -> None:
    np.savez(tmp_path / "inception.npz", mu=np.zeros(4), sigma=np.eye(4))
    with pytest.raises(Mistake, match=r"(?s)inception\.npz has 4 features.*identity has 3.*evaluation\.extractor"):
        score_against(
            evaluator, gaussian(200), reference_statistics.load_reference_statistics(tmp_path / "inception.npz")
        )


def test_statistics_of_another_extractor_are_refused_even_with_the_same_number_of_features(
    tmp_path: Path, evaluator: Evaluator
) -> None:
    np.savez(tmp_path / "a.npz", mu=np.zeros(3), sigma=EYE, n=10, saddlepoint='{"extractor": "digits"}')
    with pytest.raises(Mistake, match="its extractor is digits, here it is identity"):
        score_against(evaluator, gaussian(200), reference_statistics.load_reference_statistics(tmp_path / "a.npz"))


def test_an_evaluation_against_statistics_restores_the_random_state(tmp_path: Path, evaluator: Evaluator) -> None:
    np.savez(tmp_path / "a.npz", mu=np.zeros(3), sigma=EYE)
    before = torch.get_rng_state()
    evaluator(lambda n: torch.randn(n, 3), reference_statistics.load_reference_statistics(tmp_path / "a.npz"))
    assert torch.equal(torch.get_rng_state(), before)


def test_only_dropout_that_is_on_is_stored_in_the_contract(
    tmp_path: Path, points: Callable, evaluator: Evaluator
) -> None:
    split, fakes = points().split("train"), gaussian(200)
    saved = statistics_of(evaluator, split, tmp_path / "reals.npz")
    for on in (False, True):
        one = evaluator(lambda n: fakes[:n], split, dropout=on)["fid_identity_200_train"].contract
        two = score_against(evaluator, fakes, saved, dropout=on)["fid_identity_200_statistics"]
        assert (one.dropout, two.contract.dropout) == (on, on)
        assert ("dropout" in one.to_dict()) is on
