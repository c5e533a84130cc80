"""Extractors are not trained, refuse unsuitable data, and have a name and sha256 of their code and weights."""

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from saddlepoint.error import Mistake
from saddlepoint.evaluation.contract import contract_differences
from saddlepoint.evaluation.evaluator import Evaluator
from saddlepoint.experiment.evaluators import extractor_names, load_or_train_extractor, second_extractor_name
from saddlepoint.extractor.classifier import Shipped, shipped_classifiers
from saddlepoint.extractor.extractor import check_measurable
from saddlepoint.extractor.identity import Identity
from saddlepoint.extractor.nearest import nearest_classifier_name
from saddlepoint.extractor.resizer import ResizingExtractor, resize
from saddlepoint.extractor.trained import Trained
from saddlepoint.extractor.training import Recipe, default_recipe
from saddlepoint.extractor.user_network import UserNetwork
from saddlepoint.metric.frechet_distance import FrechetDistance
from saddlepoint.modality import Audio

BRIEF = Recipe(dim=8, epochs=12, shift=0, batch=20)


class Halved(Audio):
    """A user-defined modality: networks get half of the stored values."""

    def to_float(self, x: Tensor) -> Tensor:
        return super().to_float(x) / 2


class Thirds(Halved):
    """Another modality."""

    def to_float(self, x: Tensor) -> Tensor:
        return super().to_float(x) / 3


def test_the_sha256_includes_the_code_and_settings_of_a_user_defined_modality() -> None:
    """Cached statistics of reals are keyed by the sha256, so edited code must change it."""
    assert Identity((1, 9)).sha256 == Identity((1, 9), modality=Audio(8000, 16)).sha256 == Identity.sha256
    assert len({Identity((1, 9), modality=one).sha256 for one in (Audio(), Halved(), Thirds())}) == 3
    assert UserNetwork(nn.Flatten(), (1, 9)).sha256 == UserNetwork(nn.Flatten(), (1, 9), Audio(8000)).sha256
    assert len({UserNetwork(nn.Flatten(), (1, 9), one).sha256 for one in (Audio(), Halved(), Thirds())}) == 3


def test_an_extractor_stays_in_evaluation_mode_without_trainable_parameters() -> None:
    classifier = Shipped("digits")
    classifier.train()
    assert not any(module.training for module in classifier.modules())
    assert not any(parameter.requires_grad for parameter in classifier.parameters())
    x = torch.randint(256, (20, 1, 8, 8), dtype=torch.uint8)
    alone, batch = classifier(x[:1]), classifier(x)
    torch.testing.assert_close(alone.features, batch.features[:1])  # independent of the batch
    assert batch.features.shape == (20, 64)
    assert batch.logits.shape == (20, 10)


def test_points_are_their_own_features() -> None:
    x = torch.randn(5, 2)
    features, logits, *_ = Identity((2,))(x)
    assert torch.equal(features, x)
    assert logits is None


def test_each_extractor_is_built_by_its_name(stripes, points, tmp_path: Path) -> None:
    assert load_or_train_extractor(None, stripes) is None
    assert load_or_train_extractor("identity", points(dim=2)).dim == 2  # pyright: ignore[reportOptionalMemberAccess]
    stripes.shape = (1, 8, 8)
    assert load_or_train_extractor("digits", stripes).name == "digits"  # pyright: ignore[reportOptionalMemberAccess]


@pytest.mark.parametrize(
    ("name", "pattern"),
    [
        ("digit", "Did you mean digits"),
        ("vgg", "digits, digits-b, identity, inception, mnist.*nearest, .*trained, trained-b, your own network"),
        ("mnist", "1x28x28.*1x6x6"),
    ],
)
def test_an_unknown_or_unsuitable_extractor_is_refused(stripes, name: str, pattern: str) -> None:
    with pytest.raises(Mistake, match=pattern):
        load_or_train_extractor(name, stripes)


@pytest.mark.parametrize(
    ("shape", "name"),
    [
        ((3, 32, 32), "cifar10-jpeg"),
        ((3, 256, 100), "cifar10-jpeg"),
        ((3, 1, 1), "cifar10-jpeg"),
        ((1, 8, 8), "digits"),
        ((1, 12, 12), "digits"),
        ((1, 16, 16), "mnist"),  # 28 is 1.75 times the size, 8 half of it
        ((1, 500, 9), "mnist"),
        ((2, 8, 8), None),
        ((4, 32, 32), None),
        ((5, 8, 8), None),
        ((2,), None),
    ],
)
def test_the_nearest_extractor_has_the_same_channels_and_the_nearest_size(shape, name) -> None:
    assert nearest_classifier_name(shape) == name


def test_the_nearest_extractor_resizes_and_keeps_the_name_of_its_classifier() -> None:
    messages: list[str] = []
    data: Any = SimpleNamespace(shape=(3, 20, 50), classes=None)
    first, other = (load_or_train_extractor(name, data, log=messages.append) for name in ("nearest", "nearest-b"))
    assert (first.name, other.name, second_extractor_name("nearest")) == (
        "cifar10-jpeg",
        "cifar10-jpeg-b",
        "nearest-b",
    )
    x = torch.randint(256, (3, 3, 20, 50), dtype=torch.uint8)
    expected = Shipped("cifar10-jpeg")(resize(x, (32, 32), "bicubic-antialias"))
    assert torch.equal(first(x).features, expected.features)
    assert first.resizer == other.resizer == "bicubic-antialias-32"
    assert len(messages) == 1
    assert "using cifar10-jpeg" in messages[0]
    assert "95 MB" in messages[0]
    assert load_or_train_extractor("nearest", data, log=messages.append, resizer="bilinear").resizer == "bilinear-32"
    same_size: Any = SimpleNamespace(shape=(1, 8, 8), classes=None)
    assert load_or_train_extractor("nearest", same_size, log=messages.append).resizer == "none"
    assert (
        load_or_train_extractor("nearest", SimpleNamespace(shape=(5, 8, 8), classes=None), log=messages.append) is None
    )  # pyright: ignore[reportArgumentType]


def test_unusable_data_are_refused(stripes, points, tmp_path: Path) -> None:
    with pytest.raises(Mistake, match="leave weights out"):
        load_or_train_extractor("digits", stripes, weights=tmp_path / "weights.pth")
    with pytest.raises(Mistake, match="learns the classes of images, or of sounds"):
        load_or_train_extractor("trained", points())
    stripes.split("train").y = None
    with pytest.raises(Mistake, match="learns classes, but this data has none"):
        load_or_train_extractor("trained", stripes)


def test_a_classifier_is_trained_once_and_named_by_data_and_recipe(stripes, points, tmp_path: Path) -> None:
    messages: list[str] = []
    reports: list[Any] = []
    before = torch.random.get_rng_state()
    first = Trained(
        stripes, recipe=BRIEF, cache=tmp_path, log=messages.append, progress=lambda *report: reports.append(report)
    )
    again = Trained(stripes, recipe=BRIEF, cache=tmp_path, log=messages.append)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert len(messages) == 2  # messages of one training
    assert "100.0%" in messages[1]
    assert reports
    assert first.name == again.name
    assert first.name.startswith("classifier-")
    assert len(first.name) == len("classifier-") + 8
    assert first.sha256 == again.sha256
    x = stripes.split("test").x
    assert torch.equal(first(x).features, again(x).features)
    briefer = Recipe(dim=8, epochs=1, shift=0, batch=20)
    other = Trained(stripes, recipe=briefer, cache=tmp_path, log=messages.append)
    assert other.name != first.name
    assert len(messages) == 4


def test_a_corrupt_classifier_is_trained_again_with_the_same_result(stripes, tmp_path: Path) -> None:
    messages: list[str] = []
    first = Trained(stripes, recipe=BRIEF, cache=tmp_path, log=messages.append)
    file = next(tmp_path.rglob("*.safetensors"))
    file.write_bytes(file.read_bytes()[:1000])
    again = Trained(stripes, recipe=BRIEF, cache=tmp_path, log=messages.append)
    assert again.sha256 == first.sha256
    assert any("damaged" in message for message in messages)


def test_an_unreadable_list_of_classifiers_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Mistake, match=r"classifiers\.json cannot be read"):
        shipped_classifiers(tmp_path)
    (tmp_path / "classifiers.json").write_text('{"digits": ')
    with pytest.raises(Mistake, match="git checkout"):
        shipped_classifiers(tmp_path)


# ------------------------------------------------------------------------------------------------- the second extractor


def test_each_shipped_or_trained_extractor_has_a_second_one(monkeypatch: pytest.MonkeyPatch) -> None:
    assert second_extractor_name("digits") == "digits-b"
    assert second_extractor_name("digits-b") == "digits"
    assert second_extractor_name("trained") == "trained-b"
    assert (
        second_extractor_name("inception")
        is second_extractor_name("identity")
        is second_extractor_name("mynet")
        is None
    )
    assert second_extractor_name("stacked-mnist") == "stacked-mnist-b"
    assert all(second_extractor_name(name) in [None, *extractor_names()] for name in extractor_names())
    monkeypatch.setattr("saddlepoint.experiment.evaluators.extractor_names", lambda: ["mnist", "mnist-b", "digits"])
    assert second_extractor_name("digits") is None


def test_the_second_extractor_has_the_same_data_and_recipe_but_other_weights(stripes) -> None:
    one, two = shipped_classifiers()["digits"], shipped_classifiers()["digits-b"]
    assert one["data_sha256"] == two["data_sha256"]
    assert {**one["recipe"], "wide": 1, "flip": False, "seed": 1} == two["recipe"]
    assert (one["recipe"]["seed"], two["recipe"]["seed"]) == (0, 1)
    x = torch.randint(256, (20, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    rulers = [Shipped(name) for name in ("digits", "digits-b")]
    assert rulers[0].sha256 != rulers[1].sha256
    assert not torch.allclose(rulers[0](x).features, rulers[1](x).features, rtol=0.1)


def test_a_second_trained_classifier_differs_only_by_its_seed(
    stripes, points, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seeds: list[int] = []

    def brief(shape: tuple[int, ...], seed: int = 0) -> Recipe:
        seeds.append(default_recipe(shape, seed).seed)
        return Recipe(dim=8, epochs=1, shift=0, batch=20, seed=seed)

    monkeypatch.setattr("saddlepoint.extractor.trained.default_recipe", brief)
    one, two = (
        load_or_train_extractor(name, stripes, tmp_path, log=lambda line: None) for name in ("trained", "trained-b")
    )
    assert one is not None
    assert two is not None
    assert seeds == [0, 1]
    assert one.name != two.name
    assert one.sha256 != two.sha256
    with pytest.raises(Mistake, match="learns the classes"):
        load_or_train_extractor("trained-b", points())


# --------------------------------------------------------------------------------------- a user-defined network


class MyNet(nn.Module):
    """A network with batch norm and dropout, which differ between training and evaluation mode."""

    def __init__(self, give: str = "features", power: int = 1, pixels: int = 36) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.body = nn.Sequential(nn.Flatten(), nn.Linear(pixels, 5), nn.BatchNorm1d(5), nn.Dropout(0.5))
            self.head = nn.Linear(5, 2)
        self.give, self.power = give, power
        self.inputs: list[Tensor] = []

    def forward(self, x: Tensor) -> Any:
        self.inputs.append(x)
        features = self.body(x) ** self.power
        logits = self.head(features)
        outputs = {
            "features": features,
            "pair": (features, logits),
            "object": SimpleNamespace(features=features, logits=logits),
            "without": SimpleNamespace(features=features),
            "flat": features.sum(),
            "map": x,
            "rows": features[:1],
            "three": (features, logits, logits),
            "text": "features",
            "integers": features.long(),
            "nan": features / 0 * 0,
            "noise": features + torch.rand(5),
            "batch": features - features.mean(0),
        }
        return outputs[self.give]


@pytest.mark.parametrize(("give", "classes"), [("features", None), ("pair", 2), ("object", 2), ("without", None)])
def test_a_user_defined_network_returns_features_and_optional_logits(stripes, give: str, classes: int | None) -> None:
    network = MyNet(give)
    before = torch.random.get_rng_state()
    extractor = load_or_train_extractor(network, stripes)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert extractor is not None
    assert (extractor.name, extractor.dim, extractor.classes) == ("mynet", 5, classes)
    assert (extractor.shape, extractor.resizer) == ((1, 6, 6), "none")
    x = stripes.split("test").x
    output = extractor(x)
    with torch.no_grad():
        assert torch.equal(output.features, network.body(x.float() / 127.5 - 1))
    assert network.inputs[-1].min() >= -1
    assert network.inputs[-1].max() <= 1
    assert (output.logits is None) == (classes is None)


def test_a_user_defined_network_extracts_in_evaluation_mode_even_if_it_is_set_to_training(stripes) -> None:
    network = MyNet()
    extractor = UserNetwork(network, stripes.shape)
    x = stripes.split("test").x
    before = extractor(x).features
    extractor.train()
    assert torch.equal(extractor(x).features, before)
    network.train()  # as user code may do
    assert torch.equal(extractor(x).features, before)
    assert not any(parameter.requires_grad for parameter in extractor.parameters())


def test_the_sha256_of_a_network_depends_on_tensors_class_code_and_settings(stripes) -> None:
    class Other(MyNet):
        pass

    def sha256(network: nn.Module) -> str:
        return UserNetwork(network, (1, 6, 6)).sha256

    same, moved, strided = MyNet(), MyNet(), MyNet()
    moved.body[1].bias.data[0] += 1e-6  # pyright: ignore[reportArgumentType, reportIndexIssue, reportOperatorIssue]
    strided.body[2].eps = 1e-4  # pyright: ignore[reportArgumentType]
    assert sha256(same) == sha256(MyNet())
    assert len({sha256(network) for network in (same, moved, strided, MyNet(power=2), Other())}) == 5


def test_edited_code_changes_the_sha256_of_the_extractor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hashes = []
    for number, times in enumerate((1, 2)):
        (tmp_path / f"{number}").mkdir()
        text = f"class Net(torch.nn.Module):\n    def forward(self, x):\n        return x.flatten(1) * {times}\n"
        (tmp_path / f"{number}" / "ownnet.py").write_text(f"import torch\n{text}")
        monkeypatch.syspath_prepend(tmp_path / f"{number}")
        sys.modules.pop("ownnet", None)
        import ownnet  # pyright: ignore[reportMissingImports]

        hashes.append(UserNetwork(ownnet.Net(), (1, 6, 6)).sha256)
    sys.modules.pop("ownnet", None)
    assert hashes[0] != hashes[1]


@pytest.mark.parametrize(
    ("give", "pattern"),
    [
        ("flat", r"must return features \[N, d\], or a pair"),
        ("map", "must return features"),
        ("rows", "must return features.*for 2 samples of shape 1x6x6"),
        ("three", "must return features"),
        ("text", "must return features"),
        ("integers", "must return features"),
        ("nan", "not finite"),
        ("noise", "different features each time"),
        ("batch", "depend on the rest of its batch"),
    ],
)
def test_a_network_with_another_output_is_refused(stripes, give: str, pattern: str) -> None:
    with pytest.raises(Mistake, match=f"the extractor mynet.*{pattern}") as refused:
        load_or_train_extractor(MyNet(give), stripes)
    assert "\n" not in str(refused.value)


def test_a_network_that_fails_on_the_images_is_refused_with_the_reason(stripes) -> None:
    with pytest.raises(Mistake, match=r"mynet does not take samples of shape 1x6x6.*RuntimeError: .*mat1") as no:
        load_or_train_extractor(MyNet(pixels=49), stripes)
    assert "\n" not in str(no.value)
    with pytest.raises(Mistake, match="not int"):
        load_or_train_extractor(3, stripes)  # pyright: ignore[reportArgumentType]


def test_the_name_of_a_user_defined_network_is_plain_and_unique(points) -> None:
    class Digits(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x

    class Inception(Digits):
        pass

    class My_Net2(Digits):  # noqa: N801
        pass

    names = [
        UserNetwork(network, (3,), reserved_names=extractor_names()).name
        for network in (Digits(), Inception(), My_Net2())
    ]
    assert names == ["digits-own", "inception-own", "my-net2"]
    x = torch.randn(4, 3)
    assert torch.equal(load_or_train_extractor(My_Net2(), points())(x).features, x)  # pyright: ignore[reportOptionalCall]


def test_a_user_defined_extractor_is_used_unchanged(points) -> None:
    extractor = Identity((3,))
    assert load_or_train_extractor(extractor, points()) is extractor
    with pytest.raises(Mistake, match="Identity: leave weights out"):
        load_or_train_extractor(extractor, points(), weights="weights.pth")


# ------------------------------------------------------------------------------------------------------- the resizer


def test_a_classifier_with_a_resizer_accepts_images_of_another_size(stripes) -> None:
    with pytest.raises(Mistake, match=r"1x8x8, but this data has shape 1x6x6\.\nChoose a resizer"):
        load_or_train_extractor("digits", stripes)
    plain = Shipped("digits")
    resizing = load_or_train_extractor("digits", stripes, resizer="bicubic-antialias")
    assert isinstance(resizing, ResizingExtractor)
    assert (resizing.name, resizing.sha256, resizing.dim, resizing.classes) == ("digits", plain.sha256, 64, 10)
    assert resizing.resizer == "bicubic-antialias-8"
    x = stripes.split("test").x
    assert torch.equal(resizing(x).features, plain(resize(x, (8, 8), "bicubic-antialias")).features)
    assert not torch.equal(
        resizing(x).features,
        load_or_train_extractor("digits", stripes, resizer="bilinear")(x).features,  # pyright: ignore[reportOptionalCall]
    )
    assert not any(module.training for module in resizing.train().modules())


def test_a_resizer_of_images_of_the_right_size_is_none(stripes) -> None:
    extractor = load_or_train_extractor(MyNet(), stripes, resizer="bilinear")
    assert isinstance(extractor, UserNetwork)
    assert extractor.resizer == "none"
    with pytest.raises(Mistake, match="no resizer cubic"):
        load_or_train_extractor(MyNet(), stripes, resizer="cubic")


def test_a_resizer_does_not_change_the_channels(stripes) -> None:
    resizing = ResizingExtractor(Shipped("digits"), (8, 8), "bilinear")
    check_measurable(resizing, (1, 30, 20))
    with pytest.raises(Mistake, match="digits needs grey images, but this data has shape 3x30x20"):
        check_measurable(resizing, (3, 30, 20))
    wide = MyNet(pixels=35)
    wide.shape = [1, 5, 7]
    extractor = load_or_train_extractor(wide, stripes, resizer="bilinear")
    assert extractor is not None
    assert extractor.resizer == "bilinear-5x7"
    assert extractor(stripes.split("test").x).features.shape == (30, 5)


def test_the_resizer_is_part_of_the_contract_and_of_the_cache_key(stripes, tmp_path: Path) -> None:
    scores = {}
    for name in ("bilinear", "bicubic-antialias"):
        extractor = load_or_train_extractor("digits", stripes, resizer=name)
        assert extractor is not None
        evaluator = Evaluator(extractor, {"fid": FrechetDistance()}, n=30, cache=tmp_path)
        (scores[name],) = evaluator.score_split(stripes.split("test"), stripes).values()
    one, two = scores.values()
    assert contract_differences(one.contract, two.contract) == {"resizer": ("bilinear-8", "bicubic-antialias-8")}
    assert one.value != two.value
    assert len(list((tmp_path / "statistics").glob("*.safetensors"))) == 2


def test_samples_without_a_split_are_stored_like_the_data_of_the_extractor() -> None:
    data = SimpleNamespace(shape=(1, 4), modality=Audio(8000, bits=16), classes=None)
    extractor = load_or_train_extractor("identity", data)
    assert extractor is not None
    assert extractor.modality is data.modality
    features = Evaluator(extractor, {}, 2).extract_features([torch.full((2, 1, 4), 0.3)], 2, "samples")
    assert features.x is not None
    assert features.x.dtype == torch.int16


def test_a_resizer_without_effect_is_refused() -> None:
    from saddlepoint.data.gaussians import Gaussians

    with pytest.raises(
        Mistake, match=r"evaluation\.resizer=bilinear is for images, but these data are points: set null"
    ):
        load_or_train_extractor("identity", Gaussians(number=100), resizer="bilinear")
