"""The advice of error messages composes, and does what was meant."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from PIL import Image
from runs import run

from saddlepoint.cli import main
from saddlepoint.config import synonym
from saddlepoint.config.check import check
from saddlepoint.config.compose import compose
from saddlepoint.error import Mistake
from saddlepoint.experiment.build import build

SAMPLE = {
    "class=3": "label=3", "+class=3": "label=3", "labels=3": "label=3",
    "n_samples=4": "n=4", "num_images=4": "n=4", "samples=4": "n=4",
    "batch_size=4": "n=4", "seed=3": "sample_seed=3", "out=a.png": "to=a.png", "output=a.png": "to=a.png",
    "output_dir=a/": "to=a/", "checkpoint=best": "at=best", "ckpt=last": "at=last", "step=640": "at=640",
    "checkpoint=last.ckpt": "at=last, at=best", "ckpt_path=a/b.ckpt": "at=last, at=best", "run_dir=b": "run=b",
    "ema=true": "average=true",
}  # fmt: skip
ELSEWHERE = [
    *(("sample", override, meant) for override, meant in SAMPLE.items()),
    ("evaluate", "n=50", "evaluation.n=50"), ("evaluate", "n_samples=50", "evaluation.n=50"),
    ("evaluate", "num_images=50", "evaluation.n=50"), ("evaluate", "out=a.json", "to=a.json"),
    ("evaluate", "checkpoint=best", "at=best"), ("evaluate", "ema=false", "evaluation.average=false"),
    ("evaluate", "metrics=fid", "metric=[frechet_distance]"), ("evaluate", "split=test", "evaluation.split=test"),
    ("memorisation", "seed=3", "sample_seed=3"), ("memorisation", "num_samples=99", "n=99"),
    ("memorisation", "ckpt=best", "at=best"), ("export", "out=a", "to=a"), ("export", "license=mit", "licence=mit"),
    ("export", "format=onnx", "formats=[onnx]"), ("export", "ckpt=best", "at=best"), ("compare", "run=a", "runs=[a]"),
    ("compare", "metrics=fid", "metric=fid"), ("compare", "out=a", "to=a"),
]  # fmt: skip


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(tmp_path_factory.mktemp("runs"), "metric=[]", "images=128").folder


@pytest.mark.parametrize(("command", "override", "meant"), ELSEWHERE, ids=[f"{c} {w}" for c, w, _ in ELSEWHERE])
def test_keys_of_other_programs_give_one_line_with_the_key_to_type(
    command: str, override: str, meant: str, trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([command, *([] if command == "compare" else [f"run={trained}"]), override]) == 1
    message = capsys.readouterr().err
    assert len(message.splitlines()) == 1
    assert meant in message


OF_COMMANDS = [(command, words) for command, table in synonym.OF_COMMANDS.items() for words in table.values()]


@pytest.mark.parametrize(("command", "words"), OF_COMMANDS, ids=str)
def test_every_suggested_override_of_a_command_composes(command: str, words: str) -> None:
    value = {"to={}": "a.png", "at={}": "best", "run={}": "b", "average={}": "true", "licence={}": "mit",
             "'formats=[{}]'": "onnx", "evaluation.average={}": "true",
             "kind={}": "jacobian"}.get(words, "60")  # fmt: skip
    override = shlex.split(words.replace("{}", value))[0]
    if override.startswith("evaluation."):
        compose([override])
        return
    needed = {
        "sample": ["run=a"],
        "directions": ["run=a"],
        "fairness": ["run=a"],
        "export": ["run=a"],
        "replay": ["dump=a"],
    }
    needed["apply"] = ["run=a", "source=b", "to=c"]
    needed = [one for one in needed.get(command, []) if one.partition("=")[0] != override.partition("=")[0]]
    compose([*needed, override], command=command)


# words of a training that is refused by compose, check or build, whose message says what to type instead
REFUSED = [
    ["optimizer.generator.learning_rate=1e-3"],
    ["generator.lr=1e-3"],
    ["objective.discriminator.real_labels=0.9"],
    ["optimizer.generator.betas=0.5"],
    ["optimizer.generator.lr='1e-3'"],
    ["evaluation.nn=500"],
    ["evaluaton.n=500"],
    ["evaluation=500"],
    ["trunc.ation=0.5"],
    ["batch.size=32"],
    ["r1.weight=5"],
    ["regularizer.discriminator.r1.weight=5"],
    ["metric.coverage.k=3", "metric=[frechet_distance]"],
    ["callback.snapshot.images=500"],
    ["+batch=32"],
    ["+objective=hinge"],
    ["data.labels=null", "regularizer=[classification]"],
    ["architecture.discriminator.norm.momentum=0.1"],
    ["+data.batch=32"],
    ["regularizer=r1,r2"],
    ["name=a b"],
    ["name=a/b"],
    ["seed==3"],
    ["objective=[hinge]"],
    ["logger=null"],
    ["optimizer.generator.weight_decy=0.1"],
    ["optimizer.generator.maximise=true"],
    ["architecture.generator.width=[8]"],
]
ADVICE = re.compile(r"'?[+~]?[a-z][\w.]*(?:@[\w.]+)?=(?:\[[^\]]*\]|\{[^}]*\}|[^\s,;:?)'\"]+)'?")
MEANT = re.compile(r"Did you mean ([\w.]+)(?: or ([\w.]+))?(?: or ([\w.]+))?\?")


@pytest.mark.parametrize("words", REFUSED, ids=" ".join)
def test_the_advice_of_an_error_composes(words: list[str]) -> None:
    def built() -> None:
        config = compose(words)
        check(config)
        build(config)

    with pytest.raises(Mistake) as caught:
        built()
    message = str(caught.value).replace(" ".join(words), "")
    value = words[0].partition("=")[2]
    result = [f"{key}={value}" for match in MEANT.finditer(message) for key in match.groups() if key]
    typed = [
        override.strip("'") for override in ADVICE.findall(message) if "..." not in override and "<" not in override
    ]
    result += [override.rstrip(".") for override in typed if override.rstrip(".") not in words]
    assert result or "takes" in message or "prints every key" in message or "has the keys" in message, message
    rest = words[1:]
    for override in result:
        config = compose([*rest, override])
        if not override.startswith(("+layer@", "evaluation.extractor")):
            check(config)


def test_a_key_that_its_target_accepts_can_be_added_as_advised(tmp_path: Path) -> None:
    mine = "+metric.mine={_target_: saddlepoint.metric.kernel_distance.KernelDistance}"
    with pytest.raises(Mistake, match=r"to add it, write \+metric.mine.subset_size=3$"):
        compose([mine, "metric.mine.subset_size=3"])
    check(compose([mine, "+metric.mine.subset_size=3"]))
    with pytest.raises(Mistake, match=r"mlp.Generator takes latent, shape"):
        compose(["architecture.generator.zzz=true"])


def test_the_advice_for_folders_of_images_composes(tmp_path: Path) -> None:
    for i in range(12):
        Image.new("RGB", (8, 8), (i, 0, 0)).save(tmp_path / f"{i}.png")
    folder = ["data=image_folder", f"data.folder={tmp_path}"]
    for words, printed in {
        ("data=image_folder",): "data.folder=",
        ("data=imagenet",): "data=image_folder data.folder=",
    }.items():
        with pytest.raises(Mistake, match=re.escape(printed)):
            compose(list(words))
    compose(folder)
