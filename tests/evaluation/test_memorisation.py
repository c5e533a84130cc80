import numpy as np
import pytest
import torch
from scipy.stats import binom, mannwhitneyu
from sklearn.neighbors import NearestNeighbors
from torchmetrics.image.mifid import _mifid_compute

from saddlepoint.evaluation.memorisation_alarm import (
    SpaceNeighbours,
    enrichment_p_value,
    find_space_neighbours,
    memorisation_alarm,
    min_detectable_copies,
    neighbour_distance_ratio,
)
from saddlepoint.evaluation.memorisation_statistics import (
    Neighbours,
    copying_statistic,
    distance_ratio,
    kmeans_cells,
    mann_whitney_z,
    membership_auc,
    memorisation_distance,
    mifid,
    nearest_neighbours,
)
from saddlepoint.metric.authenticity import authenticity


def normal(seed, *shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def shifted(x, dy, dx):
    """Shift x down and right, filled with background."""
    padded = torch.nn.functional.pad(x, (3, 3, 3, 3), value=-1.0)
    return padded[..., 3 - dy : 3 - dy + x.shape[-2], 3 - dx : 3 - dx + x.shape[-1]]


def test_neighbours_match_an_independent_search():
    x, y = normal(0, 40, 7) + 100, normal(1, 90, 7) + 100
    neighbours = nearest_neighbours(x, y, 5)
    distance, index = NearestNeighbors(n_neighbors=5, algorithm="brute").fit(y.double()).kneighbors(x.double())
    assert neighbours.index.equal(torch.from_numpy(index))
    assert torch.allclose(neighbours.distance * 7**0.5, torch.from_numpy(distance), rtol=1e-6)


def test_a_copy_has_distance_zero_and_a_skipped_image_is_not_its_own_neighbour():
    y = normal(0, 30, 1, 8, 8)
    assert nearest_neighbours(y, y).distance.eq(0).all()
    index = torch.arange(30)
    others = nearest_neighbours(y, y, 29, skip=index)
    assert not others.index.eq(index.unsqueeze(1)).any()
    assert others.distance.gt(0).all()


@pytest.mark.parametrize("change", [lambda x: shifted(x, 2, -1), lambda x: shifted(x, 0, 2), lambda x: x.flip(-1)])
def test_shifted_and_mirrored_copies_have_distance_zero_only_if_requested(change):
    y = normal(0, 30, 2, 9, 9)
    x = change(y[:6])
    neighbours = nearest_neighbours(x, y, shift=2, flip=True)
    assert neighbours.index.flatten().equal(torch.arange(6))
    assert neighbours.distance.max() < 1e-6
    assert nearest_neighbours(x, y).distance.min() > 0.5


def test_the_distance_of_a_shift_is_the_mean_over_the_overlap():
    x, y = torch.zeros(1, 1, 6, 6), torch.full((1, 1, 6, 6), 3.0)
    y[:, :, 0] = 0  # shifted down by one, x overlaps five rows of threes; shifted up, one of the five rows is zeros
    expected = min(9 * rows / n for rows, n in ((5, 6), (5, 5), (4, 5), (4, 4), (3, 4)))
    assert nearest_neighbours(x, y, shift=2).distance.item() == pytest.approx(expected**0.5)


def test_neighbours_over_shifts_match_a_search_in_loops():
    x, y = normal(0, 3, 1, 6, 7), normal(1, 20, 1, 6, 7)

    def distance(a, b):
        squares = []
        for dy in range(-2, 3):
            for dx in range(-2, 3):
                for image in (a, [row[::-1] for row in a]):
                    pairs = [
                        (image[i][j], b[i + dy][j + dx])
                        for i in range(max(0, -dy), min(6, 6 - dy))
                        for j in range(max(0, -dx), min(7, 7 - dx))
                    ]
                    squares.append(sum((u - v) ** 2 for u, v in pairs) / len(pairs))
        return min(squares) ** 0.5

    expected = torch.tensor([[distance(a, b) for b in y[:, 0].tolist()] for a in x[:, 0].tolist()])
    neighbours = nearest_neighbours(x, y, 10, shift=2, flip=True)
    assert neighbours.index.equal(expected.argsort(1)[:, :10])
    assert neighbours.distance.float().allclose(expected.sort(1).values[:, :10], rtol=1e-4)


def test_exact_copies_have_ratio_and_authenticity_zero():
    train, held_out, new = normal(0, 300, 20), normal(1, 300, 20), normal(2, 200, 20)
    samples = torch.cat([train[:100], new[:100]])
    to_train, nearest = nearest_neighbours(samples, train)
    radius = nearest_neighbours(train[nearest[:, 0]], train, skip=nearest[:, 0]).distance[:, 0]
    to_held_out = nearest_neighbours(samples, held_out).distance[:, 0]
    assert distance_ratio(to_train[:100, 0], to_held_out[:100]) == 0
    assert authenticity(to_train[:100, 0], radius[:100]) == 0
    remaining = authenticity(to_train[100:, 0], radius[100:])
    assert authenticity(to_train[:, 0], radius) == remaining / 2
    assert 0.4 < remaining < 0.9
    assert distance_ratio(to_train[100:, 0], to_held_out[100:]) == pytest.approx(1, abs=0.03)


def test_mann_whitneys_z_matches_scipy():
    for seed in range(5):
        a, b = normal(seed, 60).mul(3).round().numpy(), normal(seed + 9, 45).add(0.3).mul(3).round().numpy()
        two_sided = mannwhitneyu(a, b, use_continuity=False, method="asymptotic").pvalue
        z = mann_whitney_z(a, b)
        assert 2 * float(torch.distributions.Normal(0, 1).cdf(torch.tensor(-abs(z)))) == pytest.approx(two_sided, 1e-4)
        assert mann_whitney_z(b, a) == pytest.approx(-z)
    assert mann_whitney_z(np.ones(5), np.ones(6)) == 0


def test_the_copying_statistic_of_held_out_images_is_standard_normal():
    train = normal(0, 200, 2)
    results = []
    for seed in range(300):
        a, b = normal(2 * seed + 1, 150, 2), normal(2 * seed + 2, 150, 2)
        in_a, in_b = (nearest_neighbours(x, train[:3]).index[:, 0] for x in (a, b))  # three cells
        results.append(
            copying_statistic(
                nearest_neighbours(a, train).distance[:, 0], nearest_neighbours(b, train).distance[:, 0], in_a, in_b
            )
        )
    z = torch.tensor([z for _, z, _ in results])
    assert binom.ppf(0.001, 300, 0.05) <= int((z.abs() > 1.96).sum()) <= binom.ppf(0.999, 300, 0.05)
    assert z.mean().abs() < 0.2
    assert 0.85 < z.std() < 1.15
    assert torch.tensor([value for value, _, _ in results]).std() < 0.8  # the mean over cells varies less


def test_the_copying_statistic_is_negative_for_copies_and_positive_for_noise():
    train, held_out, new = normal(0, 400, 3), normal(1, 400, 3), normal(2, 400, 3)

    def statistic(samples):
        distance = [nearest_neighbours(x, train).distance[:, 0] for x in (samples, held_out)]
        return copying_statistic(*distance, *kmeans_cells(train, samples, held_out, number=4))

    copies = train + 0.01 * normal(3, 400, 3)
    selected = new[:, 0] > 0.5
    assert statistic(copies)[1] < -15
    assert statistic(new + 2 * normal(4, 400, 3))[1] > 5
    assert -3 < statistic(new)[1] < 3
    assert statistic(torch.where(selected.unsqueeze(1), copies, new))[1] < -3
    assert statistic(new)[2] == 4
    assert statistic(new[:10])[2] == 0
    assert np.isnan(statistic(new[:10])[0])


def test_mifid_matches_torchmetrics():
    for scale in (0.05, 2.0):  # below the threshold and above it
        train = normal(0, 200, 6) + 1
        fake = train[:150] + scale * normal(1, 150, 6)
        one, two = train.double(), fake.double()
        expected = _mifid_compute(one.mean(0), one.T.cov(), one, two.mean(0), two.T.cov(), two)
        # torchmetrics finds the nearest fake of each real; here, as in the paper, the nearest real of each fake
        swapped = _mifid_compute(two.mean(0), two.T.cov(), two, one.mean(0), one.T.cov(), one)
        assert mifid(fake, train)[0] == pytest.approx(swapped.item(), rel=1e-6)
        assert expected > 0


def test_mifid_exceeds_the_fid_only_if_fakes_are_close_to_training_images():
    train, far = normal(0, 300, 30), normal(1, 200, 30)
    value, fid, _ = mifid(far, train)
    assert value == fid
    value, fid, distance = mifid(train[:200] + 0.05 * normal(2, 200, 30), train)
    assert value == pytest.approx(fid / distance)
    assert distance < 0.1
    assert mifid(train, train) == (0, 0, pytest.approx(0, abs=1e-12))
    assert memorisation_distance(-3 * train, train) == pytest.approx(0, abs=1e-12)  # length and sign do not matter


def test_the_auc_matches_its_closed_form_and_its_interval_covers_it():
    assert membership_auc(torch.tensor([1.0, 2, 3]), torch.tensor([0.0, 2]))[0] == pytest.approx((1 + 1.5 + 2) / 6)
    assert membership_auc(torch.tensor([3.0, 4]), torch.tensor([1.0, 2])) == (1, 1, 1)
    true = torch.distributions.Normal(0, 1).cdf(torch.tensor(0.5 / 2**0.5)).item()
    covered = 0
    for seed in range(150):
        _, low, high = membership_auc(normal(2 * seed, 120) + 0.5, normal(2 * seed + 1, 80))
        covered += low <= true <= high
    assert binom.ppf(0.001, 150, 0.95) <= covered <= binom.ppf(0.999, 150, 0.95)
    with pytest.raises(ValueError, match="two members"):
        membership_auc(torch.ones(1), torch.ones(5))


def toy(seed, copies=0, n=120, noise=0.0, size=200, dim=8):
    """Samples, training and held-out points from N(0, I); the first samples are copies."""
    samples, train, held_out = (
        normal(3 * seed, n, dim),
        normal(3 * seed + 1, size, dim),
        normal(3 * seed + 2, size, dim),
    )
    samples[:copies] = train[:copies] + noise * normal(10**6 + seed, copies, dim)
    return samples, train, held_out


def test_the_rate_of_false_alarms_is_at_most_the_level():
    alarms = [
        memorisation_alarm({"points": find_space_neighbours(*toy(seed))}, 200, 200, 0.2, seed).rings
        for seed in range(100)
    ]
    assert sum(alarms) <= binom.ppf(0.999, 100, 0.2)
    assert sum(alarms) >= 3  # the alarm has some power


def test_copies_among_one_in_twenty_samples_raise_the_alarm():
    for noise in (0.0, 0.1):
        alarms = [
            memorisation_alarm(
                {"points": find_space_neighbours(*toy(seed, 10, 200, noise, 300))}, 300, 300, seed=seed
            ).rings
            for seed in range(20)
        ]
        assert sum(alarms) >= 18


@pytest.mark.parametrize("bad", ["narrow", "wide", "collapsed", "one point"])
def test_a_bad_generator_that_copies_nothing_raises_no_more_alarms(bad):
    spoil = {
        "narrow": lambda x: 0.3 * x,
        "wide": lambda x: 3 * x,
        "collapsed": lambda x: 0.1 * x + x[:1],
        "one point": lambda x: x[:1].expand_as(x).contiguous(),
    }[bad]
    alarms = 0
    for seed in range(40):
        samples, train, held_out = toy(seed)
        alarms += (
            memorisation_alarm(
                {"points": find_space_neighbours(spoil(samples), train, held_out)}, 200, 200, seed=seed
            ).membership
            <= 0.05
        )
    assert alarms <= binom.ppf(0.999, 40, 0.05)


def test_repeated_copies_of_one_training_image_are_one_piece_of_evidence():
    samples, train, held_out = toy(0)
    samples[:60] = train[0]
    assert not memorisation_alarm({"points": find_space_neighbours(samples, train, held_out)}, 200, 200).rings


def test_duplicates_across_training_and_held_out_images_raise_no_alarm():
    """Half of the images are on both sides, so copies of them are no evidence of membership."""
    alarms = 0
    for seed in range(40):
        samples, train, held_out = toy(seed)
        held_out[:100] = train[:100]
        samples[:60] = train[30:90]
        alarms += (
            memorisation_alarm(
                {"points": find_space_neighbours(samples, train, held_out)}, 200, 200, seed=seed
            ).membership
            <= 0.05
        )
    assert alarms <= binom.ppf(0.999, 40, 0.05)


def test_frequent_tokens_raise_no_alarm_if_few_of_them_are_training_samples():
    """A generator that draws from the same 216 sequences as the data, each of which is in the pool dozens of times."""

    def draw(seed, n):
        return torch.from_numpy(np.random.default_rng(seed).integers(0, 6, (n, 3))).double()

    alarms = 0
    for seed in range(10):
        near = find_space_neighbours(draw(3 * seed, 300), draw(3 * seed + 1, 200), draw(3 * seed + 2, 8_000))
        alarms += memorisation_alarm({"tokens": near}, 200, 8_000, seed=seed).membership <= 0.05
    assert alarms <= binom.ppf(0.999, 10, 0.05)
    rare = torch.arange(10.0, 14.0)[:, None].expand(-1, 3)
    train = torch.cat([draw(0, 200), rare])
    near = find_space_neighbours(torch.cat([draw(1, 300), rare]), train, draw(2, 8_000))
    assert memorisation_alarm({"tokens": near}, 204, 8_000).membership < 0.001, "copies of rare ones do"


def test_the_order_of_samples_and_images_does_not_matter():
    samples, train, held_out = toy(1, 4)
    one = find_space_neighbours(samples, train, held_out)
    orders = [torch.randperm(len(x), generator=torch.Generator().manual_seed(5)) for x in (samples, train)]
    other = find_space_neighbours(samples[orders[0]], train[orders[1]], held_out)
    assert neighbour_distance_ratio(one.sample_to_train)[orders[0]].allclose(
        neighbour_distance_ratio(other.sample_to_train)
    )
    assert one.sample_to_held_out.distance[orders[0]].allclose(other.sample_to_held_out.distance)


def test_a_space_that_depends_on_membership_is_left_out_of_its_test():
    samples, train, held_out = toy(2, 100)
    assert memorisation_alarm({"points": find_space_neighbours(samples, train, held_out)}, 200, 200).membership < 0.01
    assert (
        memorisation_alarm(
            {"points": find_space_neighbours(samples, train, held_out, exchangeable=False)}, 200, 200
        ).membership
        == 1
    )


def test_the_enrichment_p_is_uniform_for_random_marks_and_tiny_for_marks_in_front():
    random = np.random.default_rng(0)
    marks = np.arange(200) < 100
    fair = np.array([enrichment_p_value([random.permutation(200)[:80]], marks, random, 199) for _ in range(200)])
    assert binom.ppf(0.001, 200, 0.1) <= (fair <= 0.1).sum() <= binom.ppf(0.999, 200, 0.1)
    assert 0.4 < fair.mean() < 0.65
    assert enrichment_p_value([np.arange(12)], marks, random) < 0.01
    assert enrichment_p_value([np.arange(199, 150, -1)], marks, random) == 1
    assert enrichment_p_value([random.permutation(200), np.arange(30)], marks, random) < 0.01


def test_the_detectable_number_of_copies_is_that_of_the_more_powerful_test():
    assert min_detectable_copies(300, 300, 200, 200, 0.05) == 6  # 2^-6 < 0.025 < 2^-5
    assert min_detectable_copies(9000, 1000, 1000, 1000, 0.05) == 6  # closeness, if nearly all were trained on
    assert min_detectable_copies(9000, 1000, 10_000, 1000, 0.05) == 36
    marks = np.arange(600) < 300
    alternating = np.arange(600).reshape(2, 300).T.flatten()  # alternating, with copies in front
    p = [
        enrichment_p_value([np.concatenate([np.arange(c), alternating[2 * c :]])], marks, np.random.default_rng(0))
        for c in (4, 12)
    ]
    assert p[0] > 0.025 > p[1]


def test_neighbours_of_as_many_held_out_images_as_samples_are_found():
    neighbours = find_space_neighbours(normal(0, 20, 3), normal(1, 50, 3), normal(2, 40, 3))
    assert isinstance(neighbours, SpaceNeighbours)
    assert [len(one.index) for one in neighbours[:3]] == [20, 20, 20]
    assert isinstance(neighbours.held_out_to_train, Neighbours)
