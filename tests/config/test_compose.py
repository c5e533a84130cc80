"""What is composed from which words, and what is said of words that make no sense."""

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
def own(tmp_path: Path) -> Path:
    """A researcher's folder: an objective, and three experiments (one of them built on another)."""
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


def test_every_group_records_its_choice_lists_as_lists() -> None:
    choice = OmegaConf.to_container(compose(["objective=hinge", "regularizer=[r1,r2]", "game=simultaneous"]).choice)
    assert isinstance(choice, dict)
    assert choice["objective"] == "hinge"
    assert choice["regularizer"] == ["r1", "r2"]
    assert choice["game"] == "simultaneous"  # not two_player, which it stands on
    assert choice["layer"] == []
    assert set(choice) == set(catalogue.default_options()) - {"experiment", "protocol"}


def test_a_schedule_is_recorded_with_its_place() -> None:
    choice = compose(["+schedule@optimizer.generator.lr=linear", *RAMP]).choice
    assert choice["schedule@optimizer.generator.lr"] == "linear"


def test_interpolations_stay_symbolic_and_follow_what_they_name() -> None:
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
def test_a_list_is_replaced_added_to_and_taken_from(words: list[str], names: list[str]) -> None:
    config = compose(words)
    assert config.choice.regularizer == names
    assert list(config.regularizer.discriminator) == names


def test_adding_adds_to_the_list_of_an_experiment(own: Path) -> None:
    config = compose(["experiment=gentle", "+regularizer=r2"], own)
    assert list(config.regularizer.discriminator) == ["r1", "r2"]
    assert config.choice.experiment == "gentle"
    assert config.batch == 32


def test_an_experiment_may_stand_on_another_and_choose_more_groups(own: Path) -> None:
    assert compose(["experiment=gentler"], own).batch == 16
    assert compose(["experiment=gentler"], own).choice.experiment == "gentler"
    cooling = compose(["experiment=cooling"], own)
    assert cooling.choice["schedule@optimizer.generator.lr"] == "constant"
    assert cooling.optimizer.generator.lr.value == 0.001


def test_an_experiment_is_overridden_by_the_command_line(own: Path) -> None:
    assert compose(["experiment=gentle", "batch=8", "regularizer=[]"], own).choice.regularizer == []
    assert compose(["batch=8", "experiment=gentle"], own).batch == 8


def test_an_emptied_list_leaves_an_empty_mapping() -> None:
    config = compose(["metric=[]", "callback=[]"])
    assert config.metric == config.callback == {}


def test_composing_twice_gives_the_same_config() -> None:
    assert compose(["seed=3"]) == compose(["seed=3"])


def test_composing_leaves_a_callers_hydra_as_it_was(tmp_path: Path) -> None:
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


def test_compose_is_there_for_notebooks() -> None:
    assert saddlepoint.compose is compose
    config = saddlepoint.compose(["objective=hinge"])
    with pytest.raises(Exception, match="imges"):
        config.imges = 5  # a slip of the pen does not become a key


@pytest.mark.parametrize(("word", "value"), [("300_000", 300_000), ("1e6", 1_000_000), ("128", 128)])
def test_numbers_may_be_written_for_people(word: str, value: int) -> None:
    images = compose([f"images={word}"]).images
    assert images == value
    assert type(images) is int


def test_the_value_of_a_word_is_what_the_grammar_says() -> None:
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


def test_variants_lie_side_by_side_by_default() -> None:
    variants = [[], ["objective=minimax"], ["objective.discriminator.real_label=0.9"], ["prior.z.dim=10"]]
    assert len({compose(words).name for words in variants}) == len(variants)


def test_an_experiment_stands_in_front_of_the_name(own: Path) -> None:
    assert compose(["experiment=gentle"], own).name.startswith("gentle-digits-mlp-nonsaturating-r1-")


def test_names_of_nested_pieces_make_one_folder(tmp_path: Path) -> None:
    written(tmp_path, {"experiment/2024/gentle one.yaml": "# @package _global_\nbatch: 32\n"})
    assert compose(["experiment='2024/gentle one'"], tmp_path).name.startswith("2024-gentle-one-digits-")


@pytest.mark.parametrize("name", ["mine", "a.b_c-1", "3"])
def test_a_given_name_is_kept(name: str) -> None:
    assert compose([f"name={name}"]).name == name


@pytest.mark.parametrize("name", ["a/b", "..", ".hidden", "-x", "a b", "é", "a" * 201])
def test_a_name_that_is_no_folder_everywhere_is_refused(name: str) -> None:
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


def test_own_pieces_are_chosen_by_name_like_ours(own: Path) -> None:
    config = compose(["objective=mine"], own)
    assert config.objective.discriminator._target_ == "mylosses.discriminator"
    assert config.choice.objective == "mine"
    assert compose(["objective=hinge"], own).choice.objective == "hinge"


def test_a_piece_that_stands_on_another_is_one_choice(own: Path) -> None:
    config = compose(["regularizer=[heavy_r1,r2]"], own)
    assert config.choice.regularizer == ["heavy_r1", "r2"]
    assert list(config.regularizer.discriminator) == ["r1", "r2"]


def test_own_folder_may_be_given_relative_to_the_current_one(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(own.parent)
    assert compose(["objective=mine"], own.name).choice.objective == "mine"


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
def test_a_fault_in_own_yaml_is_told_with_its_place(
    tmp_path: Path, files: dict[str, str], words: list[str], parts: list[str]
) -> None:
    with pytest.raises(Mistake) as caught:
        compose(words, written(tmp_path, files))
    for part in parts:
        assert part in str(caught.value)


def test_a_config_dir_that_is_not_there_is_named(tmp_path: Path) -> None:
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
    "objective=5": ["no such objective: 5"],
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
    "regularizer=[r1,r1]": ["r1 stands twice"],
    "~regularizer=r1": ["r1 is not among"],
    "schedule=linear": ["+schedule@"],
    "schedule@optimizer.generator.lr=linear": ["+schedule@optimizer.generator.lr"],
    "images==3": ["images==3", "images=3"],
    "image": ["key=value", "images="],
    "=3": ["key=value"],
    "a b=3": ["key=value"],
    'images="3': ["quotes"],
    "regularizer=[r1": ["brackets"],
    "regularizer=(r1,r2)": ["brackets"],
    "regularizer=r1,r2": ["'regularizer=[r1,r2]'"],
    "images=300,000": ["300_000"],
    "hydra.run.dir=.": ["Hydra's own settings"],
    "images=many": ["images=many", "whole number"],
    "images=0.5": ["whole number"],
    "images=true": ["whole number"],
    "images=0": ["from 1 on"],
    "images=": ["whole number"],
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
    "prior.z.dim=wide": ["prior.z.dim=wide", "whole number"],
    "+schedule@optimizer.generator.lr=linear": ["optimizer.generator.lr.start has no value yet"],
    "+images=5": ["there already", "images=5"],
    "+imges=5": ["nothing reads imges", "images"],
    "+evaluation.m=5": ["nothing reads evaluation.m"],
    "~seed": ["cannot be left out"],
    "~evaluation.n": ["cannot be left out"],
    "~callback.grid": ["~callback=grid"],
    "callback.grid=null": ["~callback=grid"],
    "regularizer.discriminator.r1.weight=2": ["r1 is not among the regularizers", "+regularizer=r1"],
}


@pytest.mark.parametrize("word", MISTAKES)
def test_a_mistake_is_told_in_two_lines_with_what_to_do(word: str) -> None:
    with pytest.raises(Mistake) as caught:
        compose([word])
    message = str(caught.value)
    assert len(message.splitlines()) <= 2
    for part in MISTAKES[word]:
        assert part in message


def test_a_key_of_another_piece_is_told_whose_it_is() -> None:
    with pytest.raises(Mistake, match=r"objective=hinge takes no discriminator\.real_label.*minimax or nonsaturating"):
        compose(["objective=hinge", "objective.discriminator.real_label=0.9"])


def test_a_list_that_the_shell_took_apart_is_recognised() -> None:
    with pytest.raises(Mistake, match="without blanks"):
        compose(["regularizer=[r1,", "r2]"])


def test_a_command_says_which_key_it_needs() -> None:
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


def test_a_runs_config_is_amended_and_otherwise_kept(run: DictConfig) -> None:
    before = OmegaConf.to_yaml(run)
    new = apply_overrides(run, ["evaluation.n=50", "metric=[frechet_distance]", "+regularizer=r2"])
    assert OmegaConf.to_yaml(run) == before
    assert new.evaluation.n == 50
    assert list(new.metric) == ["fid"]
    assert list(new.regularizer.discriminator) == ["r1", "r2"]
    assert new.choice.regularizer == ["r1", "r2"]
    assert (new.batch, new.data.batch, new.name) == (32, 32, run.name)


@pytest.mark.parametrize(
    ("word", "part"),
    [("evaluation.m=5", "evaluation.n"), ("metric=fid", "no such metric"), ("experiment=null", "experiment")],
)
def test_a_runs_config_is_not_amended_by_mistake(run: DictConfig, word: str, part: str) -> None:
    with pytest.raises(Mistake, match=re.escape(part)):
        apply_overrides(run, [word])
