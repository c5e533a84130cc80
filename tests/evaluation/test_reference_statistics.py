"""Reference statistics of others: what is read is what is there, what is no mean and covariance is refused."""

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


def spread(d: int = 3, seed: int = 0) -> Tensor:
    return torch.cov(torch.randn(d, 50, generator=torch.Generator().manual_seed(seed), dtype=torch.float64))


def drawn(n: int, d: int = 3) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(n)) * 1.5


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def evaluator(said: list[str]) -> Evaluator:
    metrics = {"fid": FrechetDistance(), "fid_infinity": FrechetDistanceInfinity(), "coverage": Coverage()}
    return Evaluator(Identity((3,)), metrics, 200, log=said.append)


def test_a_file_of_pytorch_fid_is_read_to_the_last_bit(tmp_path: Path) -> None:
    mu, sigma = np.arange(3.0), spread().numpy()
    np.savez_compressed(tmp_path / "theirs.npz", mu=mu, sigma=sigma)  # as its save_fid_stats does
    found = reference_statistics.load_reference_statistics(tmp_path / "theirs.npz")
    np.testing.assert_array_equal(found.mu, mu)
    np.testing.assert_array_equal(found.sigma, sigma)
    assert (found.n, len(found), found.metadata) == (None, 0, {})
    assert found.sha256 == hashlib.sha256((tmp_path / "theirs.npz").read_bytes()).hexdigest()


@pytest.mark.parametrize("key", ["n", "num_images"])
def test_the_number_of_images_is_taken_where_a_file_says_it(tmp_path: Path, key: str) -> None:
    np.savez(tmp_path / "a.npz", mu=np.zeros(3), sigma=np.eye(3), **{key: 50_000})  # pyright: ignore[reportArgumentType]
    found = reference_statistics.load_reference_statistics(tmp_path / "a.npz")
    assert (found.n, len(found)) == (50_000, 50_000)


EYE = np.eye(3)
BAD = {
    "no sigma": ({"mu": np.zeros(3)}, "has no sigma: it holds mu"),
    "no mu": ({"m": np.zeros(3), "s": EYE}, "has no mu: it holds m, s"),
    "a table of means": ({"mu": np.zeros((1, 3)), "sigma": EYE}, r"mu is \[1, 3\]"),
    "sigma of another size": ({"mu": np.zeros(4), "sigma": EYE}, r"mu is \[4\] and sigma \[3, 3\]"),
    "nothing": ({"mu": np.zeros(0), "sigma": np.zeros((0, 0))}, "mu is"),
    "nan": ({"mu": np.array([0, np.nan, 0]), "sigma": EYE}, "mu are not finite"),
    "infinite": ({"mu": np.zeros(3), "sigma": np.full((3, 3), np.inf)}, "sigma are not finite"),
    "asymmetric": ({"mu": np.zeros(3), "sigma": EYE + np.triu(np.full((3, 3), 1e-3), 1)}, "not symmetric"),
    "negative": ({"mu": np.zeros(3), "sigma": -EYE}, "negative variances"),
    "words": ({"mu": np.array(["a", "b", "c"]), "sigma": EYE}, "mu holds <U1"),
    "complex": ({"mu": np.zeros(3), "sigma": EYE * 1j}, "sigma holds complex128"),
    "pickled": ({"mu": np.array([{}, 1, 2], dtype=object), "sigma": EYE}, "pickled, which can run any code"),
    "half an image": ({"mu": np.zeros(3), "sigma": EYE, "n": 2.5}, "n says how many images there were, and is 2.5"),
    "nan images": ({"mu": np.zeros(3), "sigma": EYE, "num_images": np.nan}, "num_images says"),
    "one image": ({"mu": np.zeros(3), "sigma": EYE, "n": 1}, "n says"),
    "no json": ({"mu": np.zeros(3), "sigma": EYE, "saddlepoint": "{"}, "says of itself"),
}


@pytest.mark.parametrize("fault", BAD)
def test_what_is_no_mean_and_covariance_is_refused_with_its_fault(tmp_path: Path, fault: str) -> None:
    arrays, part = BAD[fault]
    np.savez(tmp_path / "bad.npz", **arrays)
    with pytest.raises(Mistake, match=part) as caught:
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
    np.savez_compressed(folder / "packed.npz", mu=drawn(300, 1)[:, 0], sigma=np.eye(300))
    np.save(folder / "single.npy", np.zeros(3))
    whole, packed = (folder / "whole.npz").read_bytes(), bytearray((folder / "packed.npz").read_bytes())
    packed[200] ^= 255  # within the compressed mean
    files = {"half.npz": whole[:-40], "empty.npz": b"", "text.npz": b"mu = 0", "flipped.npz": bytes(packed)}
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return {name: folder / name for name in [*files, "single.npy", "nowhere.npz", "."]}


@pytest.mark.parametrize("name", ["half.npz", "empty.npz", "text.npz", "flipped.npz", "single.npy", "nowhere.npz", "."])
def test_a_file_that_is_no_npz_is_told_by_its_name(tmp_path: Path, name: str) -> None:
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


def against(
    evaluator: Evaluator, fakes: Tensor, statistics: reference_statistics.ReferenceStatistics, **drawn: Any
) -> dict[str, Score]:
    left = iter(fakes)
    return evaluator(lambda n: torch.stack(list(islice(left, n))), statistics, **drawn)


def test_a_splits_own_statistics_give_the_score_that_the_split_gives(
    tmp_path: Path, points: Callable, evaluator: Evaluator
) -> None:
    split, fakes = points().split("train"), drawn(200)
    saved = statistics_of(evaluator, split, tmp_path / "reals.npz")
    assert saved.n == 300
    known = evaluator(lambda n: fakes[:n], split)  # one batch of 200
    found = against(evaluator, fakes, saved, weights="none", batch_norm="none")
    for metric in ("fid", "fid_infinity"):
        one, two = known[f"{metric}_identity_200_train"], found[f"{metric}_identity_200_statistics"]
        assert two.value == pytest.approx(one.value, rel=1e-9)
        assert set(contract_differences(one.contract, two.contract)) == {"split", "data", "weights", "batch_norm"}
    assert evaluator(lambda n: fakes[:n], split)["fid_identity_200_train"].value == pytest.approx(
        known["fid_identity_200_train"].value, rel=1e-12
    )  # and the evaluator measures against its own reals again


def test_statistics_serve_the_frechet_distance_alone_and_a_word_is_said(
    tmp_path: Path, evaluator: Evaluator, said: list[str]
) -> None:
    np.savez(tmp_path / "theirs.npz", mu=np.zeros(3), sigma=EYE)
    found = against(evaluator, drawn(200), reference_statistics.load_reference_statistics(tmp_path / "theirs.npz"))
    assert set(found) == {"fid_identity_200_statistics", "fid_infinity_identity_200_statistics"}
    contract = found["fid_identity_200_statistics"].contract
    assert (contract.n_real, contract.split, contract.resolution) == (None, "statistics", "3")
    assert contract.data == hashlib.sha256((tmp_path / "theirs.npz").read_bytes()).hexdigest()
    assert [line for line in said if "coverage" in line] == [
        "coverage is left out: it needs the reals, and theirs.npz holds their mean and covariance."
    ]
    assert found["fid_identity_200_statistics"].value == pytest.approx(3 * 0.5**2, abs=0.3)


def test_statistics_of_another_number_of_features_are_refused_by_both_numbers(
    tmp_path: Path, evaluator: Evaluator
) -> None:
    np.savez(tmp_path / "inception.npz", mu=np.zeros(4), sigma=np.eye(4))
    with pytest.raises(Mistake, match=r"(?s)inception\.npz is of 4 features.*identity has 3.*evaluation\.extractor"):
        against(evaluator, drawn(200), reference_statistics.load_reference_statistics(tmp_path / "inception.npz"))


def test_statistics_that_tell_of_another_ruler_are_refused_though_the_numbers_agree(
    tmp_path: Path, evaluator: Evaluator
) -> None:
    np.savez(tmp_path / "a.npz", mu=np.zeros(3), sigma=EYE, n=10, saddlepoint='{"extractor": "digits"}')
    with pytest.raises(Mistake, match="extractor is digits there and identity here"):
        against(evaluator, drawn(200), reference_statistics.load_reference_statistics(tmp_path / "a.npz"))


def test_what_a_sampler_draws_is_undone(tmp_path: Path, evaluator: Evaluator) -> None:
    np.savez(tmp_path / "a.npz", mu=np.zeros(3), sigma=EYE)
    before = torch.get_rng_state()
    evaluator(lambda n: torch.randn(n, 3), reference_statistics.load_reference_statistics(tmp_path / "a.npz"))
    assert torch.equal(torch.get_rng_state(), before)


def test_dropout_that_is_on_is_a_field_of_the_contract_and_one_that_is_off_leaves_records_as_they_were(
    tmp_path: Path, points: Callable, evaluator: Evaluator
) -> None:
    split, fakes = points().split("train"), drawn(200)
    saved = statistics_of(evaluator, split, tmp_path / "reals.npz")
    for on in (False, True):
        one = evaluator(lambda n: fakes[:n], split, dropout=on)["fid_identity_200_train"].contract
        two = against(evaluator, fakes, saved, dropout=on)["fid_identity_200_statistics"]
        assert (one.dropout, two.contract.dropout) == (on, on)
        assert ("dropout" in one.to_dict()) is on
