"""Invalid values are reported with their key before anything runs; every key of every command has a type."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from omegaconf import OmegaConf
from scipy.io import wavfile

from saddlepoint.cli import main
from saddlepoint.config import catalogue
from saddlepoint.config.check import check
from saddlepoint.config.compose import compose
from saddlepoint.config.instantiate import import_target, instantiate, signature_parameters
from saddlepoint.config.key_types import KEY_TYPES, PRECISIONS
from saddlepoint.error import Mistake
from saddlepoint.schema import FLAGS, Flag

PIECES = [
    [
        "optimizer.generator.lr='1e-4'",
        "a number or a schedule, and in quotes this is text: optimizer.generator.lr=1e-4",
    ],
    ["optimizer.generator.lr=null", "a number or a schedule"],
    ["optimizer.generator.lr=true", "a number or a schedule"],
    ["optimizer.generator.lr=nan", "a number or a schedule"],
    ["optimizer.discriminator.betas=[0.5]", "a list of 2 numbers"],
    ["optimizer.discriminator.betas=[a,b]", "a list of 2 numbers"],
    ["optimizer.discriminator.betas=[a,{_target_: saddlepoint.schedule.constant.Constant, value: 0.9}]", "schedules"],
    ["optimizer.generator.fused=maybe", "true or false"],
    ["logger.timeout=abc", "a number"],
    ["logger.timeout=null", "a number"],
    ["callback.evaluation.images_between=often", "an integer"],
    ["callback.grid.rows=8.5", "an integer"],
    ["callback.health.rules.collapse.raise_at=low", "a number"],
    ["architecture.generator.widths=[a]", "a list of integers"],
    ["architecture.generator.norm=batch", "a component"],
    ["architecture.discriminator.heads={label:ten}", "architecture.discriminator.heads.label is an integer"],
    ["launcher.processes=many", "an integer from 1 on or null"],
    ["launcher.processes=0", "an integer from 1 on or null"],
    ["game.players.generator.every=two", "an integer"],
    ["game.players.generator.clip=a", "a number or null"],
    ["game.players.generator.average=false", "a component"],
    ["game.players.generator.average.half_life=long", "a number or a schedule"],
    ["objective.discriminator.real_label=x", "a number"],
    ["metric.coverage.k=five", "an integer"],
    ["data.labels=ten", "an integer or null"],
    ["data.batch=7.5", "an integer"],
    ["game.seed=a", "an integer"],
]


@pytest.mark.parametrize(("override", "item"), PIECES, ids=[override for override, _ in PIECES])
def test_an_invalid_argument_of_a_component_is_reported_with_its_key(override: str, item: str) -> None:
    config = compose([override])
    with pytest.raises(Mistake) as caught:
        check(config)
    assert item in str(caught.value)
    assert str(caught.value).startswith(override.partition("=")[0])
    assert "\n" not in str(caught.value)


COMMANDS = [
    ("sample", ["run=a", "to=[a]"], "to=[a]: to is text"),
    ("sample", ["run=a", "n=0"], "n=0: n is an integer from 1 on"),
    ("sample", ["run=a", "n=4.5"], "integer"),
    ("sample", ["run=a", "average=maybe"], "true or false"),
    ("sample", ["run=a", "at=bset"], "at=bset: it is last, best, previous"),
    ("sample", ["run=5.5"], "run=5.5: run is text"),
    ("evaluate", ["run=a", "at=bset"], "Did you mean best?"),
    ("evaluate", ["run=a", "uncertainty=2"], "true or false"),
    ("evaluate", ["run=a", "groups=1"], "from 2 on"),
    ("evaluate", ["run=a", "to=[a,b]"], "to=[a,b]"),
    ("directions", ["run=a", "kind=jacobain"], "Did you mean jacobian?"),
    ("directions", ["run=a", "steps=2"], "from 3 on"),
    ("memorisation", ["run=a", "n=10"], "n=10: memorisation takes 50"),
    ("memorisation", ["run=a", "level=1"], "level=1: the rate"),
    ("memorisation", ["run=a", "average=0"], "true or false"),
    ("compare", ["level=low"], "level=low: it lies between 0 and 1"),
    ("compare", ["tuning=maybe"], "true or false"),
    ("compare", ["by=5.5"], "by=5.5"),
    ("compare", ["to=5.5"], "to=5.5: to is text"),
    ("sweep", ["workers=0"], "workers=0: workers is an integer from 1 on"),
    ("sweep", ["seeds=[a]"], "seeds=[a]"),
    ("sweep", ["seeds=3"], "seeds=3: seeds is a list"),
    ("sweep", ["storage=mysql"], "one of sqlite, journal"),
    ("reproduce", ["retrain=maybe"], "true or false"),
    ("reproduce", ["allow_dirty=1"], "true or false"),
    ("export", ["run=a", "average=maybe"], "true or false"),
    ("export", ["run=a", "to=[a]"], "to=[a]"),
    ("import", ["from=a", "name=b", "trust=maybe"], "true or false"),
    ("import", ["from=a", "name=b", "weights=avg"], "one of averaged, raw"),
    ("import", ["from=a", "name=b", "seed=one"], "integer"),
    ("doctor", ["certify=2"], "true or false"),
    ("why", ["a=5.5"], "a=5.5: a is text"),
    ("replay", ["dump=5.5"], "dump=5.5: dump is text"),
    ("train", ["trainer.detect_anomaly=maybe"], "true or false"),
    ("train", ["trainer.profiler=fast"], "one of simple, advanced, pytorch, xla or null"),
    ("train", ["evaluation.resizer=1.5"], "evaluation.resizer=1.5"),
    ("train", ["evaluation.average=1"], "true or false"),
    ("train", ["threads='2'"], "in quotes this is text: threads=2"),
    (
        "train",
        ["data=image_folder", "data.folder=a", "data.size=32x32"],
        "data.size=32x32: data.size is an integer",
    ),
    ("train", ["data=image_folder", "data.folder=a", "data.size=16.5"], "data.size=16.5"),
    ("train", ["prior.z.dim=1.5"], "prior.z.dim=1.5"),
]


@pytest.mark.parametrize(("command", "words", "item"), COMMANDS, ids=[" ".join([c, *w]) for c, w, _ in COMMANDS])
def test_an_invalid_value_of_a_command_is_reported_before_it_runs(
    command: str,
    words: list[str],
    item: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([command, *words]) == 1
    error = capsys.readouterr().err
    assert item in error
    assert len(error.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", catalogue.COMMANDS)
def test_every_key_of_every_command_has_a_type(command: str) -> None:
    groups, sections = catalogue.default_options(command), ("evaluation", "resume", "evaluation.selection")
    there = {key for key in catalogue.command_keys(command) if key not in groups and key not in sections}
    message = {key for key in KEY_TYPES[command] if not key.startswith(("trainer.", "evaluation.selection."))}
    assert message == (there | {"resume.allow"} if command == "train" else there)
    if command == "train":
        assert {f"trainer.{key}" for key in catalogue.command_keys("trainer/lightning")} <= set(KEY_TYPES[command])
        config = compose()
        assert all(OmegaConf.select(config, key, default="absent") != "absent" for key in KEY_TYPES[command])


FLAGGED = [(command, key) for command, kinds in KEY_TYPES.items() for key, kind in kinds.items() if kind == Flag]


@pytest.mark.parametrize(("command", "key"), FLAGGED, ids=str)
def test_every_boolean_accepts_yes_no_on_and_off(command: str, key: str, tmp_path: Path) -> None:
    needed = {
        "sample": ["run=a"],
        "directions": ["run=a"],
        "fairness": ["run=a"],
        "export": ["run=a"],
        "import": ["from=a", "name=b"],
    }
    needed["apply"] = ["run=a", "source=b", "to=c"]
    group, _, member = command.partition("/")
    if member == "audio_folder":
        for name in "abc":
            wavfile.write(tmp_path / f"{name}.wav", 8_000, np.ones(8_192, np.int16))
        member += f" {group}.folder={tmp_path}"
    words, command = (f"{group}={member}".split(), "train") if member else (needed.get(command, []), command)
    for override, value in FLAGS.items():
        config = compose([*words, f"{key}={override.capitalize()}"], command=command)
        assert OmegaConf.select(config, key) is value


def test_an_integer_zero_is_a_valid_number() -> None:
    config = compose(["optimizer.generator.betas=[0,0.9]", "callback.evaluation.images_between=1e3"])
    check(config)
    assert [repr(beta) for beta in config.optimizer.generator.betas] == ["0.0", "0.9"]
    assert repr(config.callback.evaluation.images_between) == "1000"


def test_each_beta_may_be_a_schedule() -> None:
    beta = "{_target_: saddlepoint.schedule.constant.Constant, value: 0.9}"
    player = instantiate(check(compose([f"optimizer.generator.betas=[0.5,{beta}]"])).game, "game").player("generator")
    assert player.build_optimizer().param_groups[0]["betas"] == (0.5, 0.9)


def test_the_notation_of_a_number_does_not_change_the_run() -> None:
    typed = compose(["optimizer.generator.betas=[0,0.9]"])
    before = typed.name
    check(typed)
    assert compose(["optimizer.generator.betas=[0.0,0.9]"]).name == before


@pytest.mark.parametrize(
    ("printed", "meant"),
    [("32", "32-true"), ("16", "16-mixed"), ("bf16", "bf16-mixed"), ("half", "16-mixed"), ("fp16", "16-mixed"),
     ("float32", "32-true"), ("BF16", "bf16-mixed"), ("'16'", "16-mixed"), ("bf16-mixed", "bf16-mixed")],
)  # fmt: skip
def test_a_short_name_of_a_precision_is_converted(printed: str, meant: str) -> None:
    assert compose([f"trainer.precision={printed}"]).trainer.precision == meant


@pytest.mark.parametrize(
    "printed", ["64", "64-true", "double", "16-true", "bf16-true", "transformer-engine", "8", "true", "null"]
)
def test_an_unsupported_precision_is_refused_in_one_line(printed: str) -> None:
    with pytest.raises(Mistake) as caught:
        compose([f"trainer.precision={printed}"])
    assert str(caught.value).startswith(f"trainer.precision={printed}: ")
    assert all(one in str(caught.value) for one in PRECISIONS)


@pytest.mark.parametrize("printed", ["16", "16-mixed", "half"])
def test_half_precision_on_a_cpu_is_refused_in_every_spelling(
    printed: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["train", f"trainer.precision={printed}", "device=cpu", f"outputs={tmp_path}/outputs"]) == 1
    assert "trainer.precision=16-mixed works only on GPUs; use bf16-mixed on a CPU" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_every_argument_of_an_included_component_has_an_annotation() -> None:
    """Without an annotation an argument is not checked."""
    bare = []
    for path in sorted(catalogue.conf_folder().rglob("*.yaml")):
        for node in _targets(OmegaConf.load(path)):
            name = str(node["_target_"])
            if name.startswith("saddlepoint.") and not name.startswith("saddlepoint.objective."):
                known = signature_parameters(import_target("x", name)) or {}
                bare += [f"{name}.{key}" for key in node if key in known and known[key].annotation in _NOTHING]
    assert bare == []


_NOTHING = (Any, inspect.Parameter.empty)


def _targets(node):
    if OmegaConf.is_dict(node):
        if "_target_" in node:
            yield node
        for name in node:
            yield from _targets(node._get_node(name))
