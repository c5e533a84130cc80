"""Settings without effect are refused before anything is built; errors while building name the path."""

from __future__ import annotations

import copy
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf
from omegaconf.errors import ReadonlyConfigError

from saddlepoint.config.check import check, config_warnings, describe_terms
from saddlepoint.config.compose import compose
from saddlepoint.config.identity import compute_identity
from saddlepoint.config.instantiate import import_target, instantiate, signature_parameters
from saddlepoint.config.tree import CheckedConfig
from saddlepoint.error import Mistake

MISTAKES = [
    (["objective=hinge", "+objective.discriminator.real_label=0.9"],
     ["objective.discriminator.real_label", "objective.hinge.discriminator takes no real_label", "no settings"]),
    (["+objective.discriminator.real_lable=0.9"], ["takes no real_lable", "Did you mean real_label?"]),
    (["+regularizer.discriminator.r1.weight=2"],
     ["regularizer.discriminator.r1.weight is set but r1 is not among the regularizers", "+regularizer=r1"]),
    (["+regularizer.discriminator.r_1.weight=2"], ["regularizer.discriminator.r_1", "Did you mean r1?"]),
    (["+regularizer.discriminator.r1=5"], ["regularizer.discriminator.r1=5"]),
    (["+callback.swa.every=2"], ["callback.swa is not a callback"]),
    (["+metric.fid.k=3"], ["metric.fid.k", "takes no k"]),
    (["+game.player.generator.every=5"], ["game.player", "Did you mean players?"]),
    (["+game.players.generator.evry=5"], ["game.players.generator.evry", "Did you mean every?"]),
    (["+optimizer.generatr.lr=3"], ["optimizer.generatr", "no such player", "Did you mean generator?"]),
    (["objective={a:1}"], ["objective.a", "no such player"]),
    (["+architecture.discriminator.head=3"], ["takes no head", "Did you mean heads?"]),
    (["+architecture.discriminator.trunk=3"], ["takes no trunk"]),  # which mlp gives to its parent itself
    (["+optimizer.generator.betta=[0,0.9]"], ["torch.optim.Adam takes no betta", "Did you mean betas?"]),
    (["+prior.z.low=0"], ["prior.z.low", "It takes dim"]),
    (["+architecture.generator.norm={_target_:torch.nn.BatchNorm1d,_partial_:true,mometum:0.1}"],
     ["architecture.generator.norm.mometum", "momentum"]),
    (["+trainer.max_steps=5"], ["trainer.max_steps", "precision"]),
    (["objective.generator=null"], ["generator has no loss"]),
    (["objective.discriminator._target_=mylosses.loss", "allow_target=[mylosses]"],
     ["no module mylosses", "Run from the folder"]),
    (["objective.discriminator._target_=saddlepoint.objective.hing.discriminator"], ["no hing", "Did you mean hinge?"]),
    (["objective.discriminator._target_=saddlepoint.objective.hinge.discriminatr"], ["Did you mean discriminator?"]),
    (["objective.discriminator._target_=saddlepoint.objective.hinge"], ["not a class or function"]),
    (["objective.discriminator._target_=hinge"], ["no module hinge"]),
]  # fmt: skip


@pytest.mark.parametrize(("words", "parts"), MISTAKES, ids=[words[-1] for words, _ in MISTAKES])
def test_a_setting_without_effect_is_refused_by_name(words: list[str], parts: list[str]) -> None:
    config = compose(words)
    with pytest.raises(Mistake) as caught:
        check(config)
    for item in parts:
        assert item in str(caught.value)


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["objective.discriminator.real_label=0.9"],
        ["architecture.discriminator.heads={label:10}"],  # taken by mlp's parent
        ["prior=[normal,categorical]"],  # any names are parts
        ["+prior.code={_target_:saddlepoint.prior.uniform.Uniform,dim:2}"],
        ["+width=8", "architecture.generator.widths=['${width}',8]"],
        ["regularizer=[r1]", "regularizer.discriminator.r1.every=16"],
        ["+regularizer.generator.gentle={_target_:saddlepoint.regularizer.r2.R2}", "objective.generator=null"],
    ],
)
def test_a_setting_with_an_effect_passes(words: list[str]) -> None:
    check(compose(words))


def test_a_config_read_back_from_a_run_passes() -> None:
    config = OmegaConf.create(OmegaConf.to_yaml(compose(["regularizer=[r1,r2]"])))
    check(OmegaConf.merge(config))  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(("label", "message"), [(0.9, 0), (0.51, 0), (0.5, 1), (0.1, 1)])
def test_a_label_that_calls_reals_fake_gives_a_warning(label: float, message: int) -> None:
    lines = config_warnings(compose([f"objective.discriminator.real_label={label}"]))
    assert len(lines) == message
    assert all(f"real_label={label}" in line for line in lines)


def test_a_new_target_does_not_keep_keys_of_the_previous_one() -> None:
    """For example another rule of averaging, which does not accept the half-life of the default one."""
    target = "saddlepoint.game.average.CorrectedAverage"
    config = compose([f"game.players.generator.average={{_target_: {target}, _partial_: true, rate: 1e-3}}"])
    check(config)
    assert set(config.game.players.generator.average) == {"_target_", "_partial_", "rate"}
    same = compose(["game.players.generator.average={half_life: 5}"]).game.players.generator.average
    assert (same.half_life, same.warm_up) == (5, 0.05)


def test_the_terms_are_described_per_player() -> None:
    words = ["objective=wasserstein", "regularizer=[r1,gradient_penalty]", "regularizer.discriminator.r1.every=16"]
    assert describe_terms(compose([*words, "game.players.generator.every=5"])) == [
        "discriminator: adversarial (wasserstein), r1 x 1.0 every 16, gradient_penalty x 10.0 every 1",
        "generator (every 5): adversarial (wasserstein)",
    ]
    scheduled = [
        "+schedule@regularizer.discriminator.r1.weight=constant",
        "regularizer.discriminator.r1.weight.value=3",
    ]
    halved = compose(["regularizer=[r1]", *scheduled, "game.players.discriminator.weight=0.5"])
    assert (
        describe_terms(halved)[0] == "discriminator: adversarial (nonsaturating) x 0.5, r1 x constant(value=3) every 1"
    )


# ----------------------------------------------------------------------------------------------------- instantiate


@pytest.fixture
def user_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A user-defined module `their_pieces`, which is allowed."""
    monkeypatch.setenv("SADDLEPOINT_ALLOW_TARGET", "their_pieces")
    (tmp_path / "their_pieces.py").write_text(
        "def typed(x):\n    return x + 1\n\n"
        "def keyed(x):\n    return {}[x]\n\n"
        "def seen(**given):\n    return given\n\n"
        "class Base:\n    def __init__(self, a, b=1, *, c=2): pass\n\n"
        "class Hands(Base):\n    def __init__(self, d, **rest):\n        super().__init__(1, **rest)\n\n"
        "class Collects(Base):\n    def __init__(self, d, **parts):\n        super().__init__(1)\n"
    )
    sys.path.append(str(tmp_path))
    yield
    sys.path.remove(str(tmp_path))
    sys.modules.pop("their_pieces", None)


def test_an_error_while_building_names_the_key_in_the_yaml() -> None:
    config = compose(["architecture=dcgan"])  # digits are 8 x 8
    with pytest.raises(Mistake, match=r"^architecture\.discriminator: dcgan makes 32 x 32"):
        instantiate(config.game, "game")
    config = compose(["game.players.generator.every=0"])
    with pytest.raises(Mistake, match=r"^game\.players\.generator: every=0 must be"):
        instantiate(config.game, "game")
    with pytest.raises(Mistake, match=r"^architecture\.generator: .*negative dimension"):
        instantiate(compose(["architecture.generator.latent=-3"]).game, "game")


@pytest.mark.usefixtures("user_module")
def test_an_error_in_user_code_is_reported_with_its_line() -> None:
    node = OmegaConf.create({"mine": {"_target_": "their_pieces.typed", "x": "a"}}).mine
    with pytest.raises(Mistake, match=r"^mine: .*concatenate.*their_pieces\.py, line 2\)$") as caught:
        instantiate(node, "mine")
    assert caught.value.__suppress_context__


@pytest.mark.usefixtures("user_module")
def test_other_exceptions_are_not_caught() -> None:
    with pytest.raises(KeyError):
        instantiate(OmegaConf.create({"_target_": "their_pieces.keyed", "x": 1}), "mine")


@pytest.mark.usefixtures("user_module")
def test_extra_arguments_are_passed_unchanged() -> None:
    node = OmegaConf.create({"n": 3, "mine": {"_target_": "their_pieces.seen", "a": [1, "${n}"]}}).mine
    network = torch.nn.Linear(1, 1)
    plain = {"b": [2], "inner": {"_target_": "their_pieces.keyed", "x": 1}}  # a whole config, for a logger to keep
    seen = instantiate(node, "mine", network=network, plain=plain)
    assert seen["network"] is network
    assert seen["plain"] is plain
    assert (seen["a"], type(seen["a"])) == ([1, 3], list)
    assert instantiate(None, "mine", network=network) is None


@pytest.mark.usefixtures("user_module")
def test_parameters_include_those_passed_to_the_parent() -> None:
    def names(name: str) -> set[str] | None:
        result = signature_parameters(import_target("x", f"their_pieces.{name}", ["their_pieces"]))
        return None if result is None else set(result)

    assert names("Base") == {"a", "b", "c"}
    assert names("Hands") == {"d", "b", "c"}
    assert names("Collects") is None
    assert names("seen") is None
    assert names("typed") == {"x"}


def test_a_missing_import_of_a_module_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "needs_more.py").write_text("import not_installed_anywhere\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(Mistake, match="needs_more needs the module not_installed_anywhere"):
        import_target("objective.generator", "needs_more.loss", ["needs_more"])


def test_a_layer_without_a_position_is_refused_with_an_example() -> None:
    with pytest.raises(Mistake, match=r"layer=minibatch_discrimination has no effect.*\+layer@architecture"):
        check(compose(["layer=[minibatch_discrimination]"]))
    check(compose(["+layer@architecture.discriminator.neck=minibatch_discrimination"]))


def test_a_checked_config_cannot_be_changed_and_a_copy_of_it_is_not_checked() -> None:
    config = compose(["objective=hinge"])
    checked = check(config)
    for change in (lambda: setattr(checked.game, "seed", 3), lambda: checked.update(images=1)):
        with pytest.raises(ReadonlyConfigError):
            change()
    config.images = 5_000
    assert checked.images != 5_000, "whose config it was made of may go on changing his"
    assert check(checked) is checked
    assert not isinstance(copy.deepcopy(checked), CheckedConfig)
    assert checked.identity == compute_identity(config) != check(compose([])).identity
