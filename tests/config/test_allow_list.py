"""What a config may build: other objects are refused before they are imported; who may allow more."""

from __future__ import annotations

import functools
import os
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from omegaconf import DictConfig, OmegaConf

from saddlepoint.cli.train import train_config_file
from saddlepoint.config import allow_list, catalogue, config_file
from saddlepoint.config.check import check
from saddlepoint.config.compose import apply_overrides, compose
from saddlepoint.config.instantiate import import_target, instantiate
from saddlepoint.error import Mistake
from saddlepoint.experiment.run_config import load_run_config
from saddlepoint.multirun import multirun
from saddlepoint.run.folder import Run

LISTED = [
    "saddlepoint.objective.hinge.discriminator", "saddlepoint.regularizer.r1.R1", "saddlepoint.game.game.Game",
    "saddlepoint.run.tracking.tracker.Tracker", "saddlepoint.launcher.local.Local", "saddlepoint.data.digits.Digits",
    "torch.nn.Linear", "torch.nn.modules.linear.Linear", "torch.optim.Adam", "torch.optim.adam.Adam",
    "pytorch_lightning.callbacks.Timer", "torchvision.transforms.Resize",
]  # fmt: skip
REFUSED = [
    # libraries
    "torch.hub.load", "torch.load", "torch.ops.load_library", "torch.os.system",
    # the same, reached through allowed modules
    "torch.nn.modules.module.torch.load", "torch.nn.functional.torch.hub.load", "torch.optim.optimizer.torch.load",
    "saddlepoint.objective.hinge.torch.load", "saddlepoint.data.mnist.os.system",
    "saddlepoint.data.mnist.shutil.rmtree", "saddlepoint.extractor.inception.urllib.request.urlopen",
    "saddlepoint.callback.grid.np.load",
    # Python's own
    "os.system", "posix.system", "subprocess.Popen", "builtins.eval", "builtins.exec", "builtins.getattr", "os.remove",
    "builtins.__import__", "importlib.import_module", "pickle.loads", "functools.partial", "operator.attrgetter",
    "runpy.run_path", "ctypes.CDLL", "code.interact", "webbrowser.open", "antigravity.fly", "numpy.load", "yaml.load",
    # trampolines
    "hydra.utils.instantiate", "hydra.utils.get_method", "hydra.utils.call", "hydra.utils.get_class",
    "omegaconf.OmegaConf.load", "torch.utils.cpp_extension.load", "torch.jit.load", "torch.package.PackageImporter",
    # objects of this package that are not components
    "saddlepoint.__main__.main", "saddlepoint.cli.main", "saddlepoint.experiment.train.train", "saddlepoint.train",
    "saddlepoint.config.allow_list.allow_names", "saddlepoint.run.folder.write_file", "saddlepoint.run.folder.Run",
    "saddlepoint.run.storage.atomic.write_atomic",
    "saddlepoint.evaluation.reference_statistics.load_reference_statistics",
    "saddlepoint.launcher.submitit.run_job", "saddlepoint.launcher.job.Job", "saddlepoint.callback.grid.picture",
    "saddlepoint.extractor.extractor.Extractor.train", "saddlepoint.evaluation.evaluator.Evaluator.__init__",
    # modules without a yaml, and classes without the base class of their package
    "saddlepoint.layer.conditional_sequential.ConditionalSequential", "saddlepoint.data.data.Data",
    "saddlepoint.callback.graceful_stop.GracefulStop",
    "saddlepoint.metric.metric.Metric", "saddlepoint.callback.finite.Diverged", "saddlepoint.data.gaussians.Mixture",
    "saddlepoint.metric.parzen.Result",
    # objects of the listed libraries that are neither layers nor optimizers
    "torch.nn.init.normal_", "torch.nn.utils.clip_grad_norm_", "torch.nn.functional.relu", "torch.nn.Linear.forward",
    "torch.nn.Module.__subclasses__", "torchvision.models.resnet18", "torchvision.datasets.MNIST",
    "pytorch_lightning.Trainer", "pytorch_lightning.callbacks.LambdaCallback", "wandb.init", "wandb.Artifact",
]  # fmt: skip


@pytest.mark.parametrize("name", LISTED)
def test_components_are_on_the_allow_list(name: str) -> None:
    assert callable(import_target("place", name))


@pytest.mark.parametrize("name", REFUSED)
def test_other_objects_are_refused_in_one_line(name: str) -> None:
    with pytest.raises(
        Mistake, match=r"^place: .*(not on the list of what a config may build|there|no class)"
    ) as message:
        import_target("place", name)
    assert len(str(message.value).splitlines()) == 1
    with pytest.raises(Mistake):
        instantiate(OmegaConf.create({"a": [{"b": {"_target_": name, "_partial_": True}}]}).a, "a")


def test_what_is_allowed_for_one_config_is_refused_in_the_next() -> None:
    for name in ("torchvision.models.resnet18", "saddlepoint.layer.conditional_sequential.ConditionalSequential"):
        assert callable(import_target("place", name, [name.rpartition(".")[0], "torchvision.models.resnet"]))
        with pytest.raises(Mistake, match="not on the list"):
            import_target("place", name)


def test_every_included_yaml_names_only_allowed_objects() -> None:
    def targets(node: Any) -> list[str]:
        if isinstance(node, dict):
            return [v for k, v in node.items() if k == "_target_"] + [t for v in node.values() for t in targets(v)]
        return [t for item in node for t in targets(item)] if isinstance(node, list) else []

    result = {t for path in catalogue.conf_folder().rglob("*.yaml") for t in targets(yaml.safe_load(path.read_text()))}
    assert len(result) > 60
    for target in result:
        import_target("shipped", target)


def test_only_the_listed_packages_are_allowed() -> None:
    """A new package of components is not allowed until it is listed."""
    package = Path(allow_list.__file__).parents[1]
    closed = {path.name for path in package.iterdir() if (path / "__init__.py").exists()} - set(allow_list.FAMILIES)
    assert {"cli", "run", "comparison", "launcher"} <= closed


# ------------------------------------------------------------------------------------------- before it is imported


@pytest.fixture
def user_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module `theirs` that writes a file when it is imported, with components of its own."""
    (tmp_path / "theirs.py").write_text(
        "import os, functools, torch\nfrom pathlib import Path\nfrom torch.nn import Linear\n"
        "Path(__file__).with_name('mark').touch()\n"
        "def generator(fake): return -fake.mean()\n"
        "softer = functools.partial(generator)\nloader = functools.partial(torch.load)\nlayer = Linear(1, 1)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    sys.modules.pop("theirs", None)


def test_a_module_that_is_not_allowed_is_not_imported(user_module: Path) -> None:
    config = compose(["objective.generator._target_=theirs.generator"])
    expected = (
        r"^objective.generator: theirs.generator is not on the list .*; if you trust it: 'allow_target=\[theirs\]'$"
    )
    for refuse in (check, lambda c: instantiate(c.game, "game"), lambda c: instantiate(c.objective, "objective")):
        with pytest.raises(Mistake, match=expected):
            refuse(config)
    assert not (user_module / "mark").exists()
    check(compose(["objective.generator._target_=theirs.generator", "allow_target=[theirs]"]))
    assert (user_module / "mark").exists()


def test_an_object_is_checked_by_the_module_that_defines_it(user_module: Path) -> None:
    for name in ("generator", "softer", "Linear"):
        assert callable(import_target("x", f"theirs.{name}", ["theirs"]))
    assert callable(import_target("x", "theirs.generator", ["theirs.generator"]))
    assert callable(import_target("x", "theirs.os.system", ["theirs.os.system"])), "said in so many words"
    for name in ("os.system", "torch.load", "loader", "functools.partial"):
        with pytest.raises(Mistake, match="not on the list"):
            import_target("x", f"theirs.{name}", ["theirs"])
    with pytest.raises(Mistake, match="not on the list"):
        import_target("x", "theirs.generator", ["their", "theirs.other", "theirs.gen"])


def test_objects_of_libraries_are_refused_without_a_way_to_allow_them() -> None:
    for name in ("os.system", "torch.load", "hydra.utils.instantiate", "saddlepoint.data.mnist.os.system"):
        with pytest.raises(Mistake) as message:
            import_target("x", name)
        assert "allow_target" not in str(message.value)


# ------------------------------------------------------------------------------------------------ by interpolation

HARM = "{_target_:os.mkdir,path:PLACE}"
HIDDEN = {
    "nested in arguments": {"_target_": "torch.nn.Identity", "_args_": [{"_target_": "os.mkdir", "path": "PLACE"}]},
    "a name that is interpolated": {"_target_": "${word}", "path": "PLACE"},
    "a name from the environment": {"_target_": "${oc.env:HIDDEN_NAME}", "path": "PLACE"},
    "a node elsewhere": {"_target_": "torch.nn.Identity", "x": "${elsewhere.harm}"},
    "a node that a resolver makes": {"_target_": "torch.nn.Identity", "x": f"${{oc.create:{HARM}}}"},
    "an escaped interpolation": {"_target_": "torch.nn.Identity", "x": f"\\${{oc.create:{HARM}}}"},
    "escaped twice": {"_target_": "torch.nn.Identity", "x": f"\\\\\\${{oc.create:{HARM}}}"},
    "in a list of lists": [[{"_target_": "os.mkdir", "path": "PLACE"}]],
    "not recursive": {"_target_": "torch.nn.Identity", "_recursive_": False, "x": {"_target_": "os.mkdir"}},
}


@pytest.mark.parametrize("how", HIDDEN)
def test_a_target_is_checked_wherever_it_is(how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HIDDEN_NAME", "os.mkdir")
    location = tmp_path / "made"

    def filled(node: Any) -> Any:
        if isinstance(node, dict):
            return {key: filled(item) for key, item in node.items()}
        if isinstance(node, list):
            return [filled(item) for item in node]
        return (
            node.replace("PLACE", f'"{location}"' if "$" in node else str(location)) if isinstance(node, str) else node
        )

    whole = {"node": HIDDEN[how], "word": "os.mkdir", "elsewhere": {"harm": {"_target_": "os.mkdir", "path": "PLACE"}}}
    config = OmegaConf.create(filled(whole))
    with pytest.raises(Mistake, match=r"os\.mkdir is (posix.mkdir, which is )?not on the list"):
        instantiate(config.node, "node")
    assert not location.exists()


def test_a_target_decoded_from_text_is_not_built(tmp_path: Path) -> None:
    text = f"${{oc.decode:'{{_target_:os.mkdir,path:\"{tmp_path / 'made'}\"}}'}}"
    config = OmegaConf.create({"node": {"_target_": "saddlepoint.schedule.constant.Constant", "value": text}})
    assert instantiate(config.node, "node").value == {"_target_": "os.mkdir", "path": str(tmp_path / "made")}
    assert not (tmp_path / "made").exists()


def test_nested_interpolations_have_a_maximum_depth() -> None:
    OmegaConf.register_new_resolver("again", lambda n: f"${{again:{n + 1}}}", replace=True)
    try:
        with pytest.raises(Mistake, match="interpolations within interpolations"):
            instantiate(OmegaConf.create({"n": {"_target_": "torch.nn.Identity", "x": "${again:0}"}}).n, "n")
    finally:
        OmegaConf.clear_resolver("again")


def test_an_empty_attribute_name_is_refused() -> None:
    for name in ("torch.nn..Linear", ".torch.nn.Linear", "torch.nn.", "torch.nn.Linear.", "..", "", "torch"):
        with pytest.raises((Mistake, ValueError)):
            import_target("x", name)


# -------------------------------------------------------------------------------------------------- who may allow it


@pytest.mark.parametrize("words", [["allow_target=[theirs]"], ["allow_target=theirs"], ["++allow_target=[theirs]"]])
def test_allow_target_on_the_command_line_allows_a_module(words: list[str]) -> None:
    config = compose(words)
    assert allow_list.allowed_names(config) == ("theirs",)
    assert allow_list.allowed_names(config.game.players) == ("theirs",)
    assert allow_list.allowed_as_arguments(config) == ["allow_target=[theirs]"]


def test_the_environment_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SADDLEPOINT_ALLOW_TARGET", "theirs, mine.losses")
    assert allow_list.allowed_names(compose()) == ("theirs", "mine.losses")
    assert allow_list.allowed_names(OmegaConf.create({})) == ("theirs", "mine.losses")


NO_NAMES = ["['os; x']", "[1]", "{a:1}", "['${objective}']", "'${name}'", "[..]"]


@pytest.mark.parametrize("override", [f"allow_target={names}" for names in NO_NAMES])
def test_an_invalid_name_cannot_be_allowed(override: str) -> None:
    with pytest.raises(Mistake, match="allow_target"):
        compose([override])


def test_a_loaded_config_allows_nothing(tmp_path: Path) -> None:
    run = Run(tmp_path / "run" / "seed0")
    run.folder.mkdir(parents=True)
    run.config.write_text(OmegaConf.to_yaml(compose(["allow_target=[theirs]"])))
    assert "allow_target:\n- theirs" in run.config.read_text(), "what was allowed is on record"
    assert allow_list.allowed_names(OmegaConf.load(run.config)) == ()
    for config in (config_file.load_config(run.config), load_run_config(run), load_run_config(run, ["seed=3"])):
        assert (allow_list.allowed_names(config), config.allow_target) == ((), [])
    assert allow_list.allowed_names(load_run_config(run, ["allow_target=[mine]"])) == ("mine",)


def test_an_old_run_without_the_key_accepts_allow_target() -> None:
    plain: Any = OmegaConf.to_container(compose())
    del plain["allow_target"]
    old = OmegaConf.create(plain)
    assert isinstance(old, DictConfig)
    assert allow_list.allowed_names(apply_overrides(old, ["allow_target=[mine]"])) == ("mine",)


def user_code(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        group, _, piece = name.partition("__")
        (folder / group).mkdir(parents=True, exist_ok=True)
        (folder / group / f"{piece}.yaml").write_text(text)
    return folder


def test_a_yaml_cannot_allow_itself(tmp_path: Path) -> None:
    says = "# @package _global_\nallow_target: [os]\n"
    many_says = "# @package _global_\nmany: {x: {one: ['allow_target=[os]']}}\n"
    key_says = "# @package _global_\nmany: {allow_target: [os, sys]}\n"
    folder = user_code(tmp_path / "conf", experiment__a=says, experiment__b=many_says, experiment__c=key_says)
    with pytest.raises(Mistake, match="allow_target is set in a yaml"):
        compose(["experiment=a"], folder)
    for name in "bc":
        with pytest.raises(Mistake, match=r"contains .*allow_target.*, which a file cannot set"):
            multirun.build_configs([f"experiment={name}", "seed=0,1"], folder)


def test_a_config_file_allows_nothing_without_the_argument(user_module: Path, tmp_path: Path) -> None:
    config = compose(["objective.generator._target_=theirs.generator", "allow_target=[theirs]",
                      f"outputs={tmp_path / 'outputs'}", "logger=none", "images=64", "metric=[]"])  # fmt: skip
    path = tmp_path / "frozen.yaml"
    path.write_text(config_file.to_yaml(config))
    with pytest.raises(Mistake, match=r"theirs\.generator is not on the list"):
        train_config_file(str(path))
    assert not (user_module / "mark").exists()
    assert not (tmp_path / "outputs").exists() or not list((tmp_path / "outputs").rglob("config.yaml"))
    read = config_file.load_config(path)
    allow_list.allow_names(read, ["theirs"])
    check(read)


def test_allow_target_does_not_change_the_identity() -> None:
    assert compose(["allow_target=[theirs]"]).name == compose().name


# --------------------------------------------------------------------------------------------- what a file may hold


def test_a_written_config_loads_unchanged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    config = compose([f"+extra={tmp_path}/home/data", "+odd='~/other'", "regularizer=[r1]",
                      "architecture.generator.widths=['${extra}','${odd}',8]"])  # fmt: skip
    text = config_file.to_yaml(config)
    assert str(tmp_path) not in text
    assert "extra: ~/data" in text
    (tmp_path / "config.yaml").write_text(text)
    read = config_file.load_config(tmp_path / "config.yaml")
    assert (read.extra, read.odd) == (f"{tmp_path}/home/data", f"{tmp_path}/home/other")
    for key in ("objective", "game", "regularizer", "evaluation", "choice", "many"):
        assert OmegaConf.to_container(read[key]) == OmegaConf.to_container(config[key])


BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 12)
)
FILES = {
    "aliases that unfold without end": (BOMB, "has more than"),
    "an alias of itself": ("a: &a [*a]\n", "has more than"),
    "a python object": ("a: !!python/object/apply:os.mkdir [MARK]\n", "cannot be read"),
    "no keys": ("- 1\n- 2\n", "holds no keys"),
    "no yaml": ("a: [1\n", "cannot be read"),
    "no text": ("\x00\x01", "cannot be read"),
    "too deep": ("[" * 500, "cannot be read"),
}


@pytest.mark.parametrize("kind", FILES)
def test_an_invalid_config_file_is_refused(kind: str, tmp_path: Path) -> None:
    content, message = FILES[kind]
    (tmp_path / "config.yaml").write_text(content.replace("MARK", str(tmp_path / "mark")))
    with pytest.raises(Mistake, match=message):
        config_file.load_config(tmp_path / "config.yaml")
    assert os.listdir(tmp_path) == ["config.yaml"]


def test_a_large_config_file_is_refused_before_it_is_read(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("a: 1\n#" + " " * config_file.MAX_BYTES)
    with pytest.raises(Mistake, match="more than any config"):
        config_file.load_config(tmp_path / "config.yaml")


def test_partials_of_an_allowed_class_are_built() -> None:
    config = compose()
    made = instantiate(config.optimizer.generator, "optimizer.generator")
    assert isinstance(made, functools.partial)
    assert isinstance(made([torch.zeros(1, requires_grad=True)]), torch.optim.Adam)
