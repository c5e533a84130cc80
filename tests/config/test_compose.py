"""Composing configs from overrides, and messages about invalid overrides."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.version import getbase
from omegaconf import DictConfig, OmegaConf
from PIL import Image

import saddlepoint
from saddlepoint.config import catalogue
from saddlepoint.config.compose import apply_overrides, compose, parse_value
from saddlepoint.error import Mistake

RAMP = ["optimizer.generator.lr.start=1e-3", "optimizer.generator.lr.end=0"]


@pytest.fixture
def user_conf(tmp_path: Path) -> Path:
    """A user's config folder: an objective and three experiments, one of which extends another."""
    files = {
        "regularizer/heavy_r1.yaml": "defaults:\n  - _self_\n  - r1\ndiscriminator: {r1: {every: 16}}\n",
        "objective/mine.yaml": "discriminator: {_target_: mylosses.discriminator, _partial_: true}\ngenerator: null\n",
        "experiment/gentle.yaml": "# @package _global_\ndefaults:\n  - override /regularizer: [r1]\nbatch: 32\n",
        "experiment/gentler.yaml": "# @package _global_\ndefaults:\n  - gentle\nbatch: 16\n",
        "experiment/cooling.yaml": "# @package _global_\ndefaults:\n  - /schedule@optimizer.generator.lr: constant\n"
        "optimizer: {generator: {lr: {value: 0.001}}}\n",
    }
    return written(tmp_path / "my conf, it's mine", files)


def written(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def test_every_group_records_its_choice() -> None:
    choice = OmegaConf.to_container(compose(["objective=hinge", "regularizer=[r1,r2]", "game=simultaneous"]).choice)
    assert isinstance(choice, dict)
    assert choice["objective"] == "hinge"
    assert choice["regularizer"] == ["r1", "r2"]
    assert choice["game"] == "simultaneous"  # not two_player, which it stands on
    assert choice["layer"] == []
    assert set(choice) == set(catalogue.default_options()) - {"experiment", "protocol"}


def test_a_schedule_is_recorded_with_its_location() -> None:
    choice = compose(["+schedule@optimizer.generator.lr=linear", *RAMP]).choice
    assert choice["schedule@optimizer.generator.lr"] == "linear"


def test_interpolations_stay_unresolved() -> None:
    config = compose(["prior=[normal,categorical]", "prior.z.dim=7", "batch=5"])
    raw = OmegaConf.to_container(config, resolve=False)
    assert isinstance(raw, dict)
    assert raw["data"]["batch"] == "${batch}"
    assert raw["architecture"]["generator"]["latent"] == "${latent_size:}"
    assert config.data.batch == 5
    assert config.architecture.generator.latent == 7 + 10
    assert OmegaConf.create(OmegaConf.to_yaml(config)).architecture.generator.latent == 17


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (["regularizer=[r1,r2]"], ["r1", "r2"]),
        (["regularizer=r1"], ["r1"]),
        (["+regularizer=r1"], ["r1"]),
        (["regularizer=[r1]", "+regularizer=r2"], ["r1", "r2"]),
        (["+regularizer=[r2,r1]", "~regularizer=r2"], ["r1"]),
        (["regularizer=[r1]", "~regularizer"], []),
        (["regularizer=null"], []),
    ],
)
def test_a_list_can_be_replaced_extended_and_reduced(words: list[str], names: list[str]) -> None:
    config = compose(words)
    assert config.choice.regularizer == names
    assert list(config.regularizer.discriminator) == names


def test_plus_adds_to_the_list_of_an_experiment(user_conf: Path) -> None:
    config = compose(["experiment=gentle", "+regularizer=r2"], user_conf)
    assert list(config.regularizer.discriminator) == ["r1", "r2"]
    assert config.choice.experiment == "gentle"
    assert config.batch == 32


def test_an_experiment_can_extend_another(user_conf: Path) -> None:
    assert compose(["experiment=gentler"], user_conf).batch == 16
    assert compose(["experiment=gentler"], user_conf).choice.experiment == "gentler"
    cooling = compose(["experiment=cooling"], user_conf)
    assert cooling.choice["schedule@optimizer.generator.lr"] == "constant"
    assert cooling.optimizer.generator.lr.value == 0.001


def test_an_experiment_is_overridden_by_the_command_line(user_conf: Path) -> None:
    assert compose(["experiment=gentle", "batch=8", "regularizer=[]"], user_conf).choice.regularizer == []
    assert compose(["batch=8", "experiment=gentle"], user_conf).batch == 8


def test_an_emptied_list_leaves_an_empty_mapping() -> None:
    config = compose(["metric=[]", "callback=[]"])
    assert config.metric == config.callback == {}


def test_composing_twice_gives_the_same_config() -> None:
    assert compose(["seed=3"]) == compose(["seed=3"])


def test_composing_does_not_change_a_callers_hydra(tmp_path: Path) -> None:
    written(tmp_path, {"theirs.yaml": "a: 1\n"})
    with initialize_config_dir(str(tmp_path), version_base="1.2"):
        compose()
        assert str(getbase()) == "1.2"
        with pytest.raises(Mistake):
            compose(["imges=5"])
        assert hydra_compose("theirs") == {"a": 1}
    assert not GlobalHydra.instance().is_initialized()


def test_composing_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    compose(["objective=hinge"])
    assert list(tmp_path.iterdir()) == []


def test_compose_is_exported() -> None:
    assert saddlepoint.compose is compose
    config = saddlepoint.compose(["objective=hinge"])
    with pytest.raises(Exception, match="imges"):
        config.imges = 5  # a slip of the pen does not become a key


@pytest.mark.parametrize(("override", "value"), [("300_000", 300_000), ("1e6", 1_000_000), ("128", 128)])
def test_numbers_can_have_underscores_and_exponents(override: str, value: int) -> None:
    images = compose([f"images={override}"]).images
    assert images == value
    assert type(images) is int


def test_values_are_parsed_by_hydras_grammar() -> None:
    assert [parse_value(f"a={value}") for value in ("1", "0.5", "null", "[a,2]", "true", "'1'")] == [
        1,
        0.5,
        None,
        ["a", 2],
        True,
        "1",
    ]


# ---------------------------------------------------------------------------------------------------------- names


def test_a_run_is_named_after_data_architecture_objective_regularizers_and_identity() -> None:
    assert re.fullmatch(r"digits-mlp-nonsaturating-[0-9a-f]{8}", compose().name)
    name = compose(["data=gaussians", "objective=relativistic", "regularizer=[r1,r2]"]).name
    assert re.fullmatch(r"gaussians-mlp-relativistic-r1-r2-[0-9a-f]{8}", name)


def test_variants_have_different_names_by_default() -> None:
    variants = [[], ["objective=minimax"], ["objective.discriminator.real_label=0.9"], ["prior.z.dim=10"]]
    assert len({compose(words).name for words in variants}) == len(variants)


def test_the_name_starts_with_the_experiment(user_conf: Path) -> None:
    assert compose(["experiment=gentle"], user_conf).name.startswith("gentle-digits-mlp-nonsaturating-r1-")


def test_names_of_nested_options_give_one_folder(tmp_path: Path) -> None:
    written(tmp_path, {"experiment/2024/gentle one.yaml": "# @package _global_\nbatch: 32\n"})
    assert compose(["experiment='2024/gentle one'"], tmp_path).name.startswith("2024-gentle-one-digits-")


@pytest.mark.parametrize("name", ["mine", "a.b_c-1", "3"])
def test_a_given_name_is_kept(name: str) -> None:
    assert compose([f"name={name}"]).name == name


@pytest.mark.parametrize("name", ["a/b", "..", ".hidden", "-x", "a b", "é", "a" * 201])
def test_an_invalid_folder_name_is_refused(name: str) -> None:
    with pytest.raises(Mistake, match="name="):
        compose([f"name='{name}'"])


# ------------------------------------------------------------------------------------------------- folders of images


def test_the_facts_of_a_folder_of_images_are_filled_in(tmp_path: Path) -> None:
    for label in ("cat", "dog"):
        (tmp_path / label).mkdir()
        Image.new("RGB", (12, 12)).save(tmp_path / label / "0.png")
    config = compose(["data=image_folder", f"data.folder={tmp_path}", "data.channels=1"])
    assert (config.data.shape, config.data.classes) == ([1, 12, 12], 2)
    assert compose(["data=image_folder", f"data.folder={tmp_path}", "data.size=8"]).architecture.generator.shape == [
        3,
        8,
        8,
    ]


def test_a_missing_folder_of_images_is_named(tmp_path: Path) -> None:
    with pytest.raises(Mistake, match="nowhere"):
        compose(["data=image_folder", f"data.folder={tmp_path / 'nowhere'}"])
    with pytest.raises(Mistake, match=r"data\.folder"):
        compose(["data=image_folder"])


# ------------------------------------------------------------------------------------------- a researcher's own pieces


def test_user_defined_options_are_chosen_by_name(user_conf: Path) -> None:
    config = compose(["objective=mine"], user_conf)
    assert config.objective.discriminator._target_ == "mylosses.discriminator"
    assert config.choice.objective == "mine"
    assert compose(["objective=hinge"], user_conf).choice.objective == "hinge"


def test_an_option_with_a_base_is_one_choice(user_conf: Path) -> None:
    config = compose(["regularizer=[heavy_r1,r2]"], user_conf)
    assert config.choice.regularizer == ["heavy_r1", "r2"]
    assert list(config.regularizer.discriminator) == ["r1", "r2"]


def test_the_user_folder_can_be_a_relative_path(user_conf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(user_conf.parent)
    assert compose(["objective=mine"], user_conf.name).choice.objective == "mine"


@pytest.mark.parametrize(
    ("files", "words", "parts"),
    [
        ({"objective/hinge.yaml": "a: 1\n"}, [], ["hinge.yaml", "another name"]),
        ({"objective/bad.yaml": "discriminator:\n  a: [1\n  b: 2\n"}, ["objective=bad"], ["bad.yaml, line 3", "YAML"]),
        ({"objective/bad.yaml": "a: 1\na: 2\n"}, ["objective=bad"], ["bad.yaml, line 2", "duplicate"]),
        ({"objective/bad.yaml": "- a\n- b\n"}, ["objective=bad"], ["bad.yaml", "it is a list"]),
        ({"objective/bad.yaml": "just words\n"}, ["objective=bad"], ["objective=bad has no discriminator"]),
        ({"experiment/x.yaml": "# @package _global_\ndefaults:\n  - override /objective: hing\n"}, ["experiment=x"],
         ["x.yaml", "no such objective: hing", "hinge"]),
        ({"experiment/x.yaml": "# @package _global_\ndefaults:\n  - override /objectve: hinge\n"}, ["experiment=x"],
         ["experiment/x.yaml", "objectve", "objective"]),
        ({"experiment/x.yaml": "# @package _global_\nimges: 5\n"}, ["experiment=x"], ["nothing reads imges", "images"]),
        ({"experiment/x.yaml": "# @package _global_\nevaluation: {splt: test}\n"}, ["experiment=x"],
         ["nothing reads evaluation.splt", "evaluation.split"]),
        ({"data/mine.yaml": "_target_: mydata.Mine\nshape: null\n"}, ["data=mine"], ["data.shape is null"]),
    ],
)  # fmt: skip
def test_an_error_in_user_yaml_names_its_file_and_line(
    tmp_path: Path, files: dict[str, str], words: list[str], parts: list[str]
) -> None:
    with pytest.raises(Mistake) as caught:
        compose(words, written(tmp_path, files))
    for item in parts:
        assert item in str(caught.value)


def test_a_missing_config_dir_is_named(tmp_path: Path) -> None:
    with pytest.raises(Mistake, match="nowhere"):
        compose(config_dir=tmp_path / "nowhere")


# ---------------------------------------------------------------------------------------------------------- mistakes

MISTAKES = {
    "imges=5": ["no such key: imges", "images"],
    "game.player.generator.every=5": ["no such key", "game.players.generator.every"],
    "lr=1e-4": ["optimizer.discriminator.lr", "optimizer.generator.lr"],
    "game.sides.fake.condition={label: y}": ["to add it, write '+game.sides.fake.condition={label: y}'"],
    "game.classes.y=10": ["to add it, write 'game.classes={y: 10}'"],
    "batch.x=3": ["no such key: batch.x"],
    "optimizer.generator.betas.5=0.1": ["no such key"],
    "objective=hing": ["no such objective: hing", "Did you mean hinge?", "wasserstein"],
    "objective=5": ["no such objective: 5", "If it is yours, name its folder: --config-dir conf."],
    "objective=": ["objective takes one name"],
    "objective=null": ["objective takes one name"],
    "objectve=hinge": ["objectve", "objective"],
    "objective/hinge=1": ["no such group: objective/hinge", "objective"],
    "nothing@place=hinge": ["no such group: nothing"],
    "experiment=nowhere": ["no such experiment: nowhere"],
    "logger=null": ["logger=none"],
    "objective=[hinge,minimax]": ["objective takes one name", "objective=hinge"],
    "+objective=hinge": ["objective=hinge"],
    "~objective": ["objective takes one name"],
    "prior=[normal,uniform]": ["prior.z", "choose one"],
    "regularizer=[r1,r1]": ["r1 is twice"],
    "~regularizer=r1": ["r1 is not among"],
    "schedule=linear": ["+schedule@"],
    "schedule@optimizer.generator.lr=linear": ["+schedule@optimizer.generator.lr"],
    "images==3": ["images==3", "images=3"],
    "image": ["key=value", "images="],
    "=3": ["key=value"],
    "a b=3": ["key=value"],
    'images="3': ["quote"],
    "regularizer=[r1": ["brackets"],
    "regularizer=(r1,r2)": ["brackets"],
    "regularizer=r1,r2": ["'regularizer=[r1,r2]'"],
    "images=300,000": ["300_000"],
    "hydra.run.dir=.": ["Hydra's settings"],
    "images=many": ["images=many", "integer"],
    "images=0.5": ["integer"],
    "images=true": ["integer"],
    "images=0": ["from 1 on"],
    "images=": ["integer"],
    "images=63": ["images=63", "batch of 64"],
    "batch=0": ["batch=0", "from 1 on"],
    "seed=-1": ["seed=-1", "from 0 on"],
    "device=gpu": ["auto, cpu, cuda, mps"],
    "overwrite=maybe": ["true or false"],
    "outputs=null": ["outputs is a folder"],
    "evaluation.split=tst": ["train, validation, test"],
    "evaluation.n=0": ["evaluation.n"],
    "evaluation=5": ["evaluation.n=..."],
    "optimizer.generator.betas=0.5": ["is a list"],
    "batch=${btch}": ["${btch}", "batch"],
    "prior.z.dim=wide": ["prior.z.dim=wide", "integer"],
    "+schedule@optimizer.generator.lr=linear": ["optimizer.generator.lr.start has no value yet"],
    "+images=5": ["exists already", "images=5"],
    "+imges=5": ["nothing reads imges", "images"],
    "+evaluation.m=5": ["nothing reads evaluation.m"],
    "~seed": ["cannot be deleted"],
    "~evaluation.n": ["cannot be deleted"],
    "~callback.grid": ["~callback=grid"],
    "callback.grid=null": ["~callback=grid"],
    "regularizer.discriminator.r1.weight=2": ["r1 is not among the regularizers", "+regularizer=r1"],
}


@pytest.mark.parametrize("override", MISTAKES)
def test_an_error_has_at_most_two_lines_with_what_to_do(override: str) -> None:
    with pytest.raises(Mistake) as caught:
        compose([override])
    message = str(caught.value)
    assert len(message.splitlines()) <= 2
    for item in MISTAKES[override]:
        assert item in message


def test_a_key_of_another_option_names_that_option() -> None:
    with pytest.raises(Mistake, match=r"objective=hinge takes no discriminator\.real_label.*minimax or nonsaturating"):
        compose(["objective=hinge", "objective.discriminator.real_label=0.9"])


def test_a_list_split_by_the_shell_is_recognised() -> None:
    with pytest.raises(Mistake, match="without spaces"):
        compose(["regularizer=[r1,", "r2]"])


def test_a_missing_required_key_is_named() -> None:
    with pytest.raises(Mistake, match="run has no value yet"):
        compose(command="sample")
    assert compose(["run=outputs/x/seed0"], command="sample").run == "outputs/x/seed0"
    assert compose(["data=mnist"], command="doctor").data == "mnist"  # a word there, not a group


# ------------------------------------------------------------------------------------------------- a run's own config


@pytest.fixture
def run() -> DictConfig:
    config = OmegaConf.create(OmegaConf.to_yaml(compose(["regularizer=[r1]", "metric=[coverage]", "batch=32"])))
    assert isinstance(config, DictConfig)
    return config


def test_overrides_change_only_their_keys_of_a_runs_config(run: DictConfig) -> None:
    before = OmegaConf.to_yaml(run)
    new = apply_overrides(run, ["evaluation.n=50", "metric=[frechet_distance]", "+regularizer=r2"])
    assert OmegaConf.to_yaml(run) == before
    assert new.evaluation.n == 50
    assert list(new.metric) == ["fid"]
    assert list(new.regularizer.discriminator) == ["r1", "r2"]
    assert new.choice.regularizer == ["r1", "r2"]
    assert (new.batch, new.data.batch, new.name) == (32, 32, run.name)


@pytest.mark.parametrize(
    ("override", "item"),
    [("evaluation.m=5", "evaluation.n"), ("metric=fid", "no such metric"), ("experiment=null", "experiment")],
)
def test_invalid_overrides_of_a_runs_config_are_refused(run: DictConfig, override: str, item: str) -> None:
    with pytest.raises(Mistake, match=re.escape(item)):
        apply_overrides(run, [override])


@pytest.mark.parametrize("override", ["regularizer: [r1]", "data: gaussians"])
def test_an_override_before_another_entry_of_the_defaults_is_refused_with_its_file(
    tmp_path: Path, override: str
) -> None:
    (tmp_path / "experiment").mkdir()
    file = tmp_path / "experiment" / "early.yaml"
    layer = "/layer@architecture.generator.norm: layer_norm"
    file.write_text(f"# @package _global_\ndefaults:\n  - override /{override}\n  - {layer}\n")
    with pytest.raises(Mistake, match=r"early.*(end of the defaults list|with override to the end)"):
        compose(["experiment=early"], config_dir=tmp_path)
    file.write_text(f"# @package _global_\ndefaults:\n  - {layer}\n  - override /{override}\n")
    assert compose(["experiment=early"], config_dir=tmp_path).architecture.generator.norm is not None


def test_an_experiment_file_without_its_package_line_is_refused(tmp_path):
    path = tmp_path / "experiment" / "three_losses.yaml"
    path.parent.mkdir()
    path.write_text("# conf/experiment/three_losses.yaml\n# @package _global_\nimages: 640\n")
    with pytest.raises(Mistake, match="experiment=three_losses: the first line of its file must be '# @package _gl"):
        compose(["experiment=three_losses"], tmp_path)
    path.write_text("# @package _global_\nimages: 640\n")
    assert compose(["experiment=three_losses"], tmp_path).images == 640
