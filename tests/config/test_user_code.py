"""Code of one's own decides a training: it is on record, and edited code is another run."""

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
from saddlepoint.config.identity import identity
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
def own(tmp_path, monkeypatch):
    """A package of one's own, in the folder that one stands in: a loss, and a part that it imports."""
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
    """Edit a module, as between two commands: neither is what the other has imported."""
    file.write_text(file.read_text() + text)
    for name in [name for name in sys.modules if name.partition(".")[0] == "ownpackage"]:
        del sys.modules[name]


def test_the_modules_of_a_target_are_those_that_it_imports_and_that_are_ones_own(own):
    found = user_code.find_modules(["ownpackage.loss.discriminator"])
    assert list(found) == ["ownpackage", "ownpackage.deeper", "ownpackage.loss", "ownpackage.part"]
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
def test_however_a_module_is_imported_it_counts(own, tmp_path, line):
    (tmp_path / "beside").mkdir()
    (tmp_path / "beside" / "__init__.py").write_text("x = 1")
    (tmp_path / "beside" / "inner.py").write_text("y = 2")
    (own / "loss.py").write_text(line)
    assert "beside" in user_code.find_modules(["ownpackage.loss.discriminator"])


def test_what_is_pythons_or_installed_or_ours_is_nobodys_own_code():
    targets = ["functools.partial", "collections.abc.Mapping", "saddlepoint.layer.maxout.Maxout", "nowhere.At.all"]
    assert user_code.find_modules(targets) == {}
    assert list(user_code.find_modules(["yaml.nodes.Node"])) == ["yaml", "yaml.nodes"], (
        "of what is installed, its own file"
    )
    assert user_code.module_provenance(user_code.find_modules(["yaml.nodes.Node"]))["yaml.nodes"]["version"]


def test_configs_without_code_of_ones_own_have_the_identities_that_they_had(own):
    config = compose()
    assert "code" not in config
    assert identity(config).startswith("ab3803eb"), "of the first edition"
    (own / "loss.py").write_text("x = 1")
    assert identity(compose()) == identity(config)


@pytest.mark.parametrize("file", ["loss.py", "part.py", "deeper.py", "__init__.py"])
def test_edited_code_is_another_run_by_default(own, file):
    before = compose(WORDS)
    edit(own / file)
    after = compose(WORDS)
    assert (before.name == after.name, identity(before) == identity(after)) == (False, False)
    edit(own / "unrelated.py")
    assert compose(WORDS).name == after.name


def test_code_that_only_watches_is_on_record_and_no_part_of_the_identity(own, tmp_path):
    (own / "watch.py").write_text("from pytorch_lightning import Callback\nclass Watch(Callback):\n    pass\n")
    words = ["+callback.watch={_target_: ownpackage.watch.Watch}", "allow_target=[ownpackage]", "metric=[]"]
    config = compose(words)
    assert (identity(config), config.get("code")) == (identity(compose(["metric=[]"])), None)
    record = run(tmp_path / "out", *words)
    told = json.loads((record.folder / "provenance.json").read_text())["code"]
    assert list(told) == ["ownpackage", "ownpackage.watch"]


def test_the_record_has_each_module_with_its_repositorys_commit_and_state(own, tmp_path):
    def git(*words):
        identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
        return subprocess.run(
            ["git", *identity, *words], cwd=tmp_path, check=True, capture_output=True, text=True
        ).stdout

    git("init", "-q")
    git("add", "ownpackage")
    git("commit", "-qm", "a loss")
    record = run(tmp_path / "out", *WORDS)
    told = json.loads((record.folder / "provenance.json").read_text())["code"]
    assert list(told) == ["ownpackage", "ownpackage.deeper", "ownpackage.loss", "ownpackage.part"]
    loss = told["ownpackage.loss"]
    assert (loss["state"], loss["git"]["commit"]) == ("committed", git("rev-parse", "HEAD").strip())
    edit(own / "loss.py")
    again = run(tmp_path / "out2", *WORDS)
    loss = json.loads((again.folder / "provenance.json").read_text())["code"]["ownpackage.loss"]
    assert (loss["state"], loss["git"]["dirty"]) == ("edited", True)


def test_a_run_of_a_given_name_is_not_gone_on_with_by_edited_code_unless_that_is_allowed(own, tmp_path, capsys):
    run(tmp_path / "out", *WORDS, "name=mine", "images=640")
    edit(own / "deeper.py")
    for words in (["images=640"], ["images=1280"], ["images=1280", "resume.allow=[batch]"]):
        with pytest.raises(Mistake, match=r"trained by other code: ownpackage.deeper \(sha256 .*resume.allow=\[code\]"):
            run(tmp_path / "out", *WORDS, "name=mine", *words)
    record = run(tmp_path / "out", *WORDS, "name=mine", "images=1280", "resume.allow=[code]")
    assert record.summary["images"] == 1280
    changed = json.loads((record.folder / "provenance.json").read_text())["changed"]
    assert changed["at"] == 640
    assert changed["keys"][0].startswith("code.ownpackage.deeper: ")
    assert "finished" in run(tmp_path / "out", *WORDS, "name=mine", "images=1280").said


def test_under_the_default_name_edited_code_begins_another_run_and_a_line_says_so(own, tmp_path):
    first = run(tmp_path / "out", *WORDS, "images=640")
    edit(own / "part.py")
    second = run(tmp_path / "out", *WORDS, "images=640")
    assert second.folder != first.folder
    assert f"this is not the run {first.folder}, whose code differs: ownpackage.part (sha256" in second.said
    edit(own / "part.py")
    third = run(tmp_path / "out", *WORDS, "images=1280", "resume.allow=[code]")
    assert (third.folder, third.summary["images"]) == (second.folder, 1280), "the newest is resumed"
    assert "as resume.allow permits: code.ownpackage.part" in third.said


def test_a_run_of_an_edition_without_such_a_record_goes_on_with_a_line(own, tmp_path):
    config = compose([*SMALL, *WORDS])
    old_name = f"digits-mlp-nonsaturating-{identity(config, with_code=False)[:8]}"
    record = run(tmp_path / "out", *WORDS, "images=640", f"name={old_name}")
    file = record.folder / "config.yaml"
    kept = file.read_text().partition("\ncode:")
    file.write_text(kept[0] + "\n" + "\n".join(line for line in kept[2].splitlines()[1:] if line[:1] != " ") + "\n")
    assert "code" not in saddlepoint.config.config_file.load_config(file)
    again = run(tmp_path / "out", *WORDS, "images=1280")
    assert (again.folder, again.summary["images"]) == (record.folder, 1280)
    assert "the run was started before user code was recorded" in again.said
    assert "ownpackage.loss" in saddlepoint.config.config_file.load_config(file).code
    assert run(tmp_path / "out", *WORDS, "images=1280").folder == record.folder, "and keeps its name"


def test_what_is_measured_and_drawn_by_edited_code_says_so(own, tmp_path, capsys):
    record = run(tmp_path / "out", *WORDS, "images=640")
    allow = "allow_target=[ownpackage]"
    asked = ["sample", f"run={record.folder}", "n=4", f"to={tmp_path / 'x.npz'}", allow]
    assert main(asked) == 0
    assert "changed since" not in capsys.readouterr().err
    edit(own / "loss.py")
    evaluating = ["evaluate", f"run={record.folder}", "metric=[coverage]", allow]
    exporting = ["export", f"run={record.folder}", f"to={tmp_path / 'e'}", "formats=[safetensors]", allow]
    for words in (asked, evaluating, exporting):
        assert main(words) == 0
        said = " ".join(capsys.readouterr().err.split())
        assert "ownpackage.loss (sha256" in said
        assert "changed since this run was trained; the current code is used" in said


def test_a_run_that_was_composed_before_an_edit_is_not_trained_by_what_it_was_not_composed_of(own, tmp_path):
    config = compose([*WORDS, f"outputs={tmp_path / 'out'}"])
    edit(own / "loss.py")
    with pytest.raises(
        Mistake, match=r"ownpackage.loss .* changed after this run was composed: give the command again"
    ):
        saddlepoint.train(config)


@pytest.mark.slow  # several processes, ten seconds or more
def test_many_runs_by_code_of_ones_own_are_named_and_recorded_alike(own, tmp_path):
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


@pytest.mark.parametrize("second", ["", ", y=None"])
def test_a_network_that_takes_no_mapping_is_told_how_networks_are_called(tmp_path, monkeypatch, capsys, second):
    (tmp_path / "before.py").write_text(
        "import torch\nfrom torch import nn\n\n\nclass G(nn.Module):\n    def __init__(self, latent, shape):\n"
        "        super().__init__()\n        self.embed = nn.Embedding(10, 64)\n\n"
        f"    def forward(self, latent{second}):\n"
        f"        return self.embed({'y' if second else 'latent'}).view(-1, 1, 8, 8)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    network = "architecture.generator={_target_: before.G, latent: 100, shape: [1,8,8]}"
    assert main(["train", network, "allow_target=[before]", "logger=none", f"outputs={tmp_path}/out"]) == 1
    said = capsys.readouterr().err.splitlines()[-1]
    assert "called network(latent, condition), the condition a mapping of named tensors" in said
    assert not (tmp_path / "out").exists()
    monkeypatch.delitem(sys.modules, "before", raising=False)
