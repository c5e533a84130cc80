"""User code is part of a training: it is recorded, and edited code is a different run."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from runs import SMALL, run

import saddlepoint
from saddlepoint.cli import main
from saddlepoint.config import user_code
from saddlepoint.config.compose import compose
from saddlepoint.config.identity import compute_identity
from saddlepoint.error import Mistake

LOSS = """
from ownpackage.part import scale
def discriminator(real, fake, margin=1.0):
    return scale() * ((margin - real).relu().mean() + (margin + fake).relu().mean())
def generator(fake):
    return -fake.mean()
"""
WORDS = [
    "objective.discriminator={_target_: ownpackage.loss.discriminator, _partial_: true}",
    "objective.generator={_target_: ownpackage.loss.generator, _partial_: true}",
    "allow_target=[ownpackage]",
    "metric=[]",
]


@pytest.fixture
def user_module(tmp_path, monkeypatch):
    """A user-defined package in the working directory: a loss, and a module that it imports."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    folder = tmp_path / "ownpackage"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "loss.py").write_text(LOSS)
    (folder / "part.py").write_text("from . import deeper\ndef scale():\n    return deeper.ONE\n")
    (folder / "deeper.py").write_text("import numpy\nONE = 1.0\n")
    (folder / "unrelated.py").write_text("raise RuntimeError('nobody imports this')\n")
    yield folder
    for name in [name for name in sys.modules if name.partition(".")[0] == "ownpackage"]:
        del sys.modules[name]


def edit(file, text="\nEDITED = True\n"):
    """Edit a module and unload it, as between two commands."""
    file.write_text(file.read_text() + text)
    for name in [name for name in sys.modules if name.partition(".")[0] == "ownpackage"]:
        del sys.modules[name]


def test_the_modules_of_a_target_are_its_user_defined_imports(user_module):
    result = user_code.find_modules(["ownpackage.loss.discriminator"])
    assert list(result) == ["ownpackage", "ownpackage.deeper", "ownpackage.loss", "ownpackage.part"]
    assert "ownpackage" not in sys.modules, "they were found, not run"


@pytest.mark.parametrize(
    "line",
    [
        "import beside",
        "from beside import x",
        "from beside import *",
        "def f():\n    import beside.inner as b",
        "import importlib\nm = importlib.import_module('beside')",
    ],
)
def test_every_form_of_import_is_found(user_module, tmp_path, line):
    (tmp_path / "beside").mkdir()
    (tmp_path / "beside" / "__init__.py").write_text("x = 1")
    (tmp_path / "beside" / "inner.py").write_text("y = 2")
    (user_module / "loss.py").write_text(line)
    assert "beside" in user_code.find_modules(["ownpackage.loss.discriminator"])


def test_python_installed_and_included_modules_are_not_user_code():
    targets = ["functools.partial", "collections.abc.Mapping", "saddlepoint.layer.maxout.Maxout", "nowhere.At.all"]
    assert user_code.find_modules(targets) == {}
    assert list(user_code.find_modules(["yaml.nodes.Node"])) == ["yaml", "yaml.nodes"], (
        "of what is installed, its own file"
    )
    assert user_code.module_provenance(user_code.find_modules(["yaml.nodes.Node"]))["yaml.nodes"]["version"]


def test_configs_without_user_code_keep_their_identity(user_module):
    config = compose()
    assert "code" not in config
    assert compute_identity(config).startswith("ab3803eb"), "of the first edition"
    (user_module / "loss.py").write_text("x = 1")
    assert compute_identity(compose()) == compute_identity(config)


@pytest.mark.parametrize("file", ["loss.py", "part.py", "deeper.py", "__init__.py"])
def test_edited_code_is_a_different_run_by_default(user_module, file):
    before = compose(WORDS)
    edit(user_module / file)
    after = compose(WORDS)
    assert (before.name == after.name, compute_identity(before) == compute_identity(after)) == (False, False)
    edit(user_module / "unrelated.py")
    assert compose(WORDS).name == after.name


def test_code_of_observers_is_recorded_but_not_part_of_the_identity(user_module, tmp_path):
    (user_module / "watch.py").write_text("from pytorch_lightning import Callback\nclass Watch(Callback):\n    pass\n")
    words = ["+callback.watch={_target_: ownpackage.watch.Watch}", "allow_target=[ownpackage]", "metric=[]"]
    config = compose(words)
    assert (compute_identity(config), config.get("code")) == (compute_identity(compose(["metric=[]"])), None)
    record = run(tmp_path / "out", *words)
    message = json.loads((record.folder / "provenance.json").read_text())["code"]
    assert list(message) == ["ownpackage", "ownpackage.watch"]


def test_provenance_has_the_commit_and_state_of_each_module(user_module, tmp_path):
    def git(*words):
        identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
        return subprocess.run(
            ["git", *identity, *words], cwd=tmp_path, check=True, capture_output=True, text=True
        ).stdout

    git("init", "-q")
    git("add", "ownpackage")
    git("commit", "-qm", "a loss")
    record = run(tmp_path / "out", *WORDS)
    message = json.loads((record.folder / "provenance.json").read_text())["code"]
    assert list(message) == ["ownpackage", "ownpackage.deeper", "ownpackage.loss", "ownpackage.part"]
    loss = message["ownpackage.loss"]
    assert (loss["state"], loss["git"]["commit"]) == ("committed", git("rev-parse", "HEAD").strip())
    edit(user_module / "loss.py")
    again = run(tmp_path / "out2", *WORDS)
    loss = json.loads((again.folder / "provenance.json").read_text())["code"]["ownpackage.loss"]
    assert (loss["state"], loss["git"]["dirty"]) == ("edited", True)


def test_a_named_run_does_not_resume_with_edited_code_unless_allowed(user_module, tmp_path, capsys):
    run(tmp_path / "out", *WORDS, "name=mine", "images=640")
    edit(user_module / "deeper.py")
    for words in (["images=640"], ["images=1280"], ["images=1280", "resume.allow=[batch]"]):
        with pytest.raises(Mistake, match=r"trained by other code: ownpackage.deeper \(sha256 .*resume.allow=\[code\]"):
            run(tmp_path / "out", *WORDS, "name=mine", *words)
    record = run(tmp_path / "out", *WORDS, "name=mine", "images=1280", "resume.allow=[code]")
    assert record.summary["images"] == 1280
    changed = json.loads((record.folder / "provenance.json").read_text())["changed"]
    assert changed["at"] == 640
    assert changed["keys"][0].startswith("code.ownpackage.deeper: ")
    assert "finished" in run(tmp_path / "out", *WORDS, "name=mine", "images=1280").said


def test_under_the_default_name_edited_code_starts_a_new_run_with_a_message(user_module, tmp_path):
    first = run(tmp_path / "out", *WORDS, "images=640")
    edit(user_module / "part.py")
    other = run(tmp_path / "out", *WORDS, "images=640")
    assert other.folder != first.folder
    assert f"this is not the run {first.folder}, whose code differs: ownpackage.part (sha256" in other.said
    edit(user_module / "part.py")
    third = run(tmp_path / "out", *WORDS, "images=1280", "resume.allow=[code]")
    assert (third.folder, third.summary["images"]) == (other.folder, 1280), "the newest is resumed"
    assert "as resume.allow permits: code.ownpackage.part" in third.said


def test_an_old_run_without_code_hashes_resumes_with_a_message(user_module, tmp_path):
    config = compose([*SMALL, *WORDS])
    old_name = f"digits-mlp-nonsaturating-{compute_identity(config, with_code=False)[:8]}"
    record = run(tmp_path / "out", *WORDS, "images=640", f"name={old_name}")
    file = record.folder / "config.yaml"
    saved = file.read_text().partition("\ncode:")
    file.write_text(saved[0] + "\n" + "\n".join(line for line in saved[2].splitlines()[1:] if line[:1] != " ") + "\n")
    assert "code" not in saddlepoint.config.config_file.load_config(file)
    again = run(tmp_path / "out", *WORDS, "images=1280")
    assert (again.folder, again.summary["images"]) == (record.folder, 1280)
    assert "the run was started before user code was recorded" in again.said
    assert "ownpackage.loss" in saddlepoint.config.config_file.load_config(file).code
    assert run(tmp_path / "out", *WORDS, "images=1280").folder == record.folder, "and keeps its name"


def test_measuring_and_sampling_with_edited_code_give_a_message(user_module, tmp_path, capsys):
    record = run(tmp_path / "out", *WORDS, "images=640")
    allow = "allow_target=[ownpackage]"
    arguments = ["sample", f"run={record.folder}", "n=4", f"to={tmp_path / 'x.npz'}", allow]
    assert main(arguments) == 0
    assert "changed since" not in capsys.readouterr().err
    edit(user_module / "loss.py")
    evaluating = ["evaluate", f"run={record.folder}", "metric=[coverage]", allow]
    exporting = ["export", f"run={record.folder}", f"to={tmp_path / 'e'}", "formats=[safetensors]", allow]
    for words in (arguments, evaluating, exporting):
        assert main(words) == 0
        printed = " ".join(capsys.readouterr().err.split())
        assert "ownpackage.loss (sha256" in printed
        assert "changed since this run was trained; the current code is used" in printed


def test_code_edited_after_composing_is_refused(user_module, tmp_path):
    config = compose([*WORDS, f"outputs={tmp_path / 'out'}"])
    edit(user_module / "loss.py")
    with pytest.raises(Mistake, match=r"ownpackage.loss .* changed after this run was composed: repeat the command"):
        saddlepoint.train(config)


@pytest.mark.slow  # several processes, ten seconds or more
def test_many_runs_with_user_code_are_named_and_recorded_like_one(user_module, tmp_path):
    small = [
        "images=640",
        "architecture.generator.widths=[8]",
        "logger=none",
        "metric=[]",
        f"outputs={tmp_path / 'out'}",
    ]
    words = ["train", "-m", "seed=0,1", *WORDS, *small]
    assert main(words) == 0
    one, two = sorted((tmp_path / "out").glob("*/seed*/provenance.json"))
    assert one.parent.parent.name == compose([*WORDS, *small]).name
    assert json.loads(one.read_text())["code"] == json.loads(two.read_text())["code"]


@pytest.mark.parametrize("other", ["", ", y=None"])
def test_a_network_with_a_wrong_signature_is_reported_with_the_right_one(tmp_path, monkeypatch, capsys, other):
    (tmp_path / "before.py").write_text(
        "import torch\nfrom torch import nn\n\n\nclass G(nn.Module):\n    def __init__(self, latent, shape):\n"
        "        super().__init__()\n        self.embed = nn.Embedding(10, 64)\n\n"
        f"    def forward(self, latent{other}):\n"
        f"        return self.embed({'y' if other else 'latent'}).view(-1, 1, 8, 8)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    network = "architecture.generator={_target_: before.G, latent: 100, shape: [1,8,8]}"
    assert main(["train", network, "allow_target=[before]", "logger=none", f"outputs={tmp_path}/out"]) == 1
    printed = capsys.readouterr().err.splitlines()[-1]
    assert "called network(latent, condition), the condition a mapping of named tensors" in printed
    assert not (tmp_path / "out").exists()
    monkeypatch.delitem(sys.modules, "before", raising=False)
