"""Which settings are part of the identity of a config."""

from __future__ import annotations

import pytest
from omegaconf import DictConfig, OmegaConf

from saddlepoint.config import config_file
from saddlepoint.config.compose import compose
from saddlepoint.config.identity import compute_identity, describe_identity_differences
from saddlepoint.config.training_keys import NON_TRAINING_KEYS

RAMP = ["+schedule@optimizer.generator.lr=linear", "optimizer.generator.lr.start=1e-3", "optimizer.generator.lr.end=0"]


@pytest.fixture(scope="module")
def plain() -> DictConfig:
    return compose()


@pytest.mark.parametrize(
    "words",
    [
        [
            "name=other",
            "seed=4",
            "images=500",
            "outputs=elsewhere",
            "cache=here",
            "device=cpu",
            "devices=1",
            "threads=2",
        ],
        ["logger=none", "callback=[]", "metric=[coverage]", "trainer.precision=bf16-mixed", "overwrite=true"],
        ["evaluation.n=100", "evaluation.split=test", "resume.allow=[images]", "data.extractor=trained"],
        ["batch=64.0", "optimizer.generator.weight_decay=0.0"],
    ],
)
def test_other_settings_do_not_change_the_identity(plain: DictConfig, words: list[str]) -> None:
    changed = compose(words)
    assert compute_identity(changed) == compute_identity(plain)
    assert describe_identity_differences(plain, changed) == []


@pytest.mark.parametrize(
    "override",
    [
        "batch=32",
        "objective=hinge",
        "objective.discriminator.real_label=0.9",
        "regularizer=[r1]",
        "game=simultaneous",
        "game.players.generator.every=5",
        "optimizer.generator.lr=1e-3",
        "prior.z.dim=10",
        "data=gaussians",
        "optimizer.generator.fused=false",
    ],
)
def test_settings_of_the_game_change_the_identity(plain: DictConfig, override: str) -> None:
    assert compute_identity(compose([override])) != compute_identity(plain)


def test_the_identity_contains_the_data_but_not_their_location() -> None:
    assert compute_identity(compose(["data=mnist"])) == compute_identity(
        compose(["data=mnist", "data.root=/elsewhere"])
    )
    facts = ["data=image_folder", "data.shape=[3,8,8]"]
    cats, dogs = (compose([*facts, f"data.folder={name}"]) for name in ("cats", "dogs"))
    assert compute_identity(cats) != compute_identity(dogs)
    assert compute_identity(cats) == compute_identity(
        compose([*facts, "data.folder=cats", "data.workers=9", "data.memory=0"])
    )


def test_a_schedule_up_to_images_keeps_the_identity_for_more_images() -> None:
    short, long = (compose([*RAMP, f"images={images}"]) for images in (1_000, 2_000))
    assert short.optimizer.generator.lr.images != long.optimizer.generator.lr.images
    assert compute_identity(short) == compute_identity(long)


def test_a_written_and_loaded_config_keeps_its_identity(plain: DictConfig) -> None:
    config = compose([*RAMP, "regularizer=[r1,r2]", "optimizer.discriminator.eps=1e-8"])
    read = OmegaConf.create(OmegaConf.to_yaml(config))
    assert isinstance(read, DictConfig)
    assert compute_identity(read) == compute_identity(config)


def test_order_and_notation_do_not_matter_but_types_do() -> None:
    one = OmegaConf.create({"a": {"x": 1, "y": [1.0, 2]}, "b": None})
    assert compute_identity(one) == compute_identity(OmegaConf.create({"b": None, "a": {"y": [1, 2.0], "x": 1.0}}))
    for other in ({"x": True, "y": [1, 2]}, {"x": "1", "y": [1, 2]}, {"x": 1, "y": [2, 1]}, {"x": 1, "y": [1, 2.5]}):
        assert compute_identity(one) != compute_identity(OmegaConf.create({"a": other, "b": None}))


def test_differences_name_each_key_with_both_values() -> None:
    result = describe_identity_differences(compose(["objective=hinge"]), compose(["batch=32", "regularizer=[r1]"]))
    assert "batch: 64 -> 32" in result
    assert "regularizer.discriminator.r1.weight: nothing -> 1" in result
    assert any(line.startswith("objective.generator._target_: saddlepoint.objective.hinge") for line in result)
    assert not any(line.split(".")[0].split(":")[0] in NON_TRAINING_KEYS for line in result)


def test_the_name_contains_the_identity(plain: DictConfig) -> None:
    assert plain.name.endswith(compute_identity(plain)[:8])
    assert compose(["seed=7"]).name == plain.name


@pytest.mark.parametrize("data", ["digits", "mnist", "fashion_mnist", "stacked_mnist", "cifar10_jpeg", "image_folder"])
def test_later_keys_change_names_only_if_they_are_used(data: str) -> None:
    facts = ["data.shape=[3,8,8]"] if data == "image_folder" else []
    config = compose([f"data={data}", *facts])
    plain = OmegaConf.to_container(config)
    plain["data"] = {key: value for key, value in plain["data"].items() if key not in ("flip", "fit")}
    old = OmegaConf.create(plain)
    assert compute_identity(config) == compute_identity(old)
    assert describe_identity_differences(config, old) == []
    flipped = compose([f"data={data}", *facts, "data.flip=true"])
    assert compute_identity(flipped) != compute_identity(config)
    assert describe_identity_differences(old, flipped) == ["data.flip: nothing -> True"]


def test_how_images_are_resized_is_part_of_the_identity() -> None:
    facts = ["data=image_folder", "data.shape=[3,8,8]"]
    assert compute_identity(compose([*facts, "data.fit=pad"])) != compute_identity(compose(facts))


BEFORE = {  # the sides of the two-player game as they were written before conditions had names
    "real": {"of": "x", "condition": "y", "judge": "discriminator"},
    "fake": {"by": "generator", "condition": "y", "judge": "discriminator"},
    "labelled": {"of": "labelled_x", "condition": "labelled_y", "judge": "discriminator"},
}


def test_first_edition_sides_keep_the_identity_and_are_upgraded(plain, tmp_path) -> None:
    old = OmegaConf.create(OmegaConf.to_container(plain))
    old.game.sides = BEFORE
    for key in ("conditions", "classes", "dropout"):
        del old.game[key]
    for network in ("generator", "discriminator"):
        del old.architecture[network].condition
    del old.architecture.generator.bounded
    assert compute_identity(old) == compute_identity(plain)
    file = tmp_path / "config.yaml"
    file.write_text(OmegaConf.to_yaml(old))
    read = config_file.load_config(file)
    assert read.game.sides == plain.game.sides
    assert compute_identity(read) == compute_identity(plain)


def test_a_condition_that_was_a_column_is_loaded_as_a_label(plain, tmp_path) -> None:
    old = OmegaConf.create(OmegaConf.to_container(plain))
    old.game.sides = {**BEFORE, "code": {"of": "x", "by": "encoder"}}
    file = tmp_path / "config.yaml"
    file.write_text(OmegaConf.to_yaml(old))
    read = OmegaConf.to_container(config_file.load_config(file).game.sides)
    assert isinstance(read, dict)
    assert read["fake"] == {"by": "generator", "condition": {"label": "y"}, "judge": "discriminator"}
    assert read["code"] == {"of": "x", "by": "encoder"}


def test_conditions_and_their_source_change_the_identity(plain: DictConfig) -> None:
    words = ["game=conditional", "game.dropout=true", "architecture.generator.condition={label: 10}",
             "architecture.generator.bounded=false"]  # fmt: skip
    assert len({compute_identity(plain), *(compute_identity(compose([override])) for override in words)}) == 5
