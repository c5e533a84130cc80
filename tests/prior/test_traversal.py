"""A traversal changes exactly one part of the latent: every category, or evenly spaced values of one entry."""

import pytest
import torch

from saddlepoint.error import Mistake
from saddlepoint.prior.categorical import Categorical
from saddlepoint.prior.normal import Normal
from saddlepoint.prior.prior import LatentPart, Prior, interpolate
from saddlepoint.prior.traversal import interpolate_by_prior, traversal_of
from saddlepoint.prior.uniform import Uniform
from saddlepoint.stream import Stream

PRIOR = Prior(z=Normal(5), category=Categorical(4), style=Uniform(2, -1.0, 3.0), width=Uniform(1))


class Unordered(LatentPart):
    """A user-defined part without a span."""


@pytest.mark.parametrize(
    ("key", "steps", "columns", "values"),
    [
        ("category", None, slice(None), torch.eye(4)),
        ("category", 3, slice(None), torch.eye(4)),
        ("z.4", 3, slice(4, 5), torch.linspace(-2, 2, 3)[:, None]),
        ("style.1", 3, slice(1, 2), torch.tensor([[-1.0], [1.0], [3.0]])),
        ("width", 3, slice(0, 1), torch.tensor([[-1.0], [0.0], [1.0]])),
    ],
)
def test_a_traversal_takes_its_values_in_order_and_changes_nothing_else(key, steps, columns, values):
    latent = PRIOR.sample(6, Stream(0, "latent"))
    before = {name: z.clone() for name, z in latent.items()}
    traversal = traversal_of(PRIOR, key, steps)
    after = {name: z.unflatten(0, (6, len(values))) for name, z in traversal.latents(latent).items()}
    name = key.partition(".")[0]
    assert torch.equal(after[name][:, :, columns], values.expand(6, -1, -1))
    for part, z in after.items():
        unchanged = torch.ones(z.shape[-1], dtype=torch.bool)
        unchanged[columns] &= part != name
        assert torch.equal(z[..., unchanged], latent[part][:, None, unchanged].expand(-1, len(values), -1))
        assert torch.equal(latent[part], before[part])


def test_a_span_may_go_beyond_the_prior():
    assert traversal_of(PRIOR, "style.0", 5, (-2, 2)).rows[:, 0].tolist() == [-2, -1, 0, 1, 2]


@pytest.mark.parametrize(
    ("key", "settings", "message"),
    [
        ("styel", {}, r"the latent has the parts z, category, style, width\. Did you mean style\?"),
        ("z", {}, r"name one entry of z, 0 to 4: traverse=z\.0"),
        ("z.5", {}, "name one entry of z, 0 to 4"),
        ("z.-1", {}, "name one entry of z, 0 to 4"),
        ("width.1", {}, "name one entry of width, 0: "),
        ("category.1", {}, "category is categorical and takes each of its 4 values"),
        ("category", {"span": (0, 1)}, "traverse=category, without a span"),
        ("width", {"steps": 1}, "at least 2 steps"),
        ("width", {"span": (1, 1)}, "an increasing span, not 8 from 1 to 1"),
    ],
)
def test_an_impossible_traversal_is_refused(key, settings, message):
    with pytest.raises(Mistake, match=message):
        traversal_of(PRIOR, key, **settings)


def test_a_part_without_a_span_needs_one():
    with pytest.raises(Mistake, match=r"Unordered has no span: give the first and last value"):
        traversal_of(Prior(one=Unordered(1)), "one")
    assert len(traversal_of(Prior(one=Unordered(1)), "one", span=(0, 1)).rows) == 8


def norms(x):
    return x.norm(dim=-1)


def test_a_spherical_path_keeps_the_norm_and_equals_the_linear_one_as_the_angle_goes_to_zero():
    one = PRIOR.sample(50, Stream(0, "latent"))["z"].double()
    other = PRIOR.sample(50, Stream(1, "latent"))["z"].double()
    other *= norms(one)[:, None] / norms(other)[:, None]
    path = interpolate({"z": one}, {"z": other}, 5)["z"].view(50, 5, 5)
    torch.testing.assert_close(norms(path), norms(one)[:, None].expand(-1, 5))
    gaps = []
    for angle in (1e-1, 1e-2, 1e-3):  # the difference is of second order in the angle
        near = {"z": one + angle * other}
        gaps.append((interpolate({"z": one}, near, 5)["z"] - interpolate({"z": one}, near, 5, "linear")["z"]).norm())
    assert gaps[1] < gaps[0] / 50
    assert gaps[2] < gaps[1] / 50


@pytest.mark.parametrize("kind", [None, "spherical", "linear"])
def test_a_path_has_the_kind_of_each_part_and_keeps_the_category(kind):
    one, other = (PRIOR.sample(6, Stream(i, "latent")) for i in (0, 1))
    path = {name: z.unflatten(0, (6, 4)) for name, z in interpolate_by_prior(PRIOR, one, other, 4, kind).items()}
    for name, z in path.items():
        if name == "category":
            assert torch.equal(z, one[name][:, None].expand(-1, 4, -1))
            continue
        torch.testing.assert_close(z[:, 0], one[name])
        torch.testing.assert_close(z[:, -1], other[name])
        part_kind = kind or ("spherical" if name == "z" else "linear")
        expected = interpolate({name: one[name]}, {name: other[name]}, 4, part_kind)[name]
        assert torch.equal(z.flatten(0, 1), expected)
