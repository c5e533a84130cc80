"""Errors in user code end a command with one line, `file:line: type: message`; bugs keep their traceback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from saddlepoint.cli import main
from saddlepoint.error import Mistake
from saddlepoint.run.folder import Run

SMALL = ["logger=none", "metric=[]", "images=192", "architecture.discriminator.widths=[8]"]
HEAD = """\
import sys
import torch
from torch import nn
from pytorch_lightning import Callback
from saddlepoint.data.data import Data, Split
from saddlepoint.regularizer.regularizer import Regularizer
from own_helper import deeper
"""
BODY = {
    "objective": "def loss(real, fake):\n    return real.mean() + undefined  # here",
    "later": "def loss(real, fake):\n    if len(real) > 8:\n        raise ValueError('too\\nmany')  # here\n"
             "    return real.mean() - fake.mean()",
    "ended": "def loss(real, fake):\n    if len(real) > 8:\n        sys.exit(0)  # here\n"
             "    return real.mean() - fake.mean()",
    "helper": "def loss(real, fake):\n    return deeper(real)",
    "shape": "class Net(nn.Module):\n    def __init__(self, latent, shape):\n        super().__init__()\n"
             "        self.layer = nn.Linear(latent + 1, 64)\n    def forward(self, latent, y=None):\n"
             "        return self.layer(latent['z'])  # here",
    "key": "class Net(nn.Module):\n    def __init__(self, latent, shape):\n        super().__init__()\n"
           "        self.layer = nn.Linear(1, 1)\n"
           "    def forward(self, latent, y=None):\n        return latent['zz']  # here",
    "built": "class Net(nn.Module):\n    def __init__(self, latent, shape):\n        raise ValueError('no')  # here",
    "keyed": "class Net(nn.Module):\n    def __init__(self, latent, shape):\n        {}['no']  # here",
    "term": "class Term(Regularizer):\n    def forward(self, turn):\n        return turn.real.x.view(3)  # here",
    "data": "class Mine(Data):\n    def splits(self):\n        return {}['train']  # here",
    "watch": "class Watch(Callback):\n    def on_train_batch_end(self, *args):\n        assert False, 'no'  # here",
    "started": "class Watch(Callback):\n    def on_fit_start(self, *args):\n        1 / 0  # here",
    "syntax": "def loss(real, fake:  # here",
    "indented": "def loss(real, fake):\nreturn real  # here",
    "imported": "from torch import nothing_of_the_kind  # here",
    "absent": "import a_module_that_is_absent  # here",
    "name": "WIDTH = undefined  # here",
}  # fmt: skip
OBJECTIVE = "objective.discriminator={_target_: own_piece.loss, _partial_: true}"
NETWORK = "architecture.generator={_target_: own_piece.Net, latent: 100, shape: [1,8,8]}"
WORDS = {
    **dict.fromkeys(BODY, OBJECTIVE),
    **dict.fromkeys(("shape", "key", "built", "keyed"), NETWORK),
    "term": "+regularizer.discriminator.mine={_target_: own_piece.Term}",
    "data": "data={_target_: own_piece.Mine, shape: [1,8,8], classes: null, extractor: null}",
    **dict.fromkeys(("watch", "started"), "+callback.mine={_target_: own_piece.Watch}"),
}
TYPES = {
    "objective": "NameError", "later": "ValueError: too many", "ended": "SystemExit: 0", "helper": "IndexError: deep",
    "shape": "RuntimeError: ", "key": "KeyError: 'zz'", "built": "ValueError: no (architecture.generator)",
    "keyed": "KeyError: 'no' (architecture.generator)", "term": "RuntimeError: ", "data": "KeyError: 'train'",
    "watch": "AssertionError: no", "started": "ZeroDivisionError", "syntax": "SyntaxError: ",
    "indented": "IndentationError: ", "imported": "ImportError: ", "absent": "", "name": "NameError",
}  # fmt: skip


@pytest.fixture
def user_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Write own_piece.py to the working directory; return the `file:line` of its error."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delenv("SADDLEPOINT_TRACEBACK", raising=False)

    def write(kind: str) -> str:
        (tmp_path / "own_helper.py").write_text("def deeper(x):\n    raise IndexError('deep')\n")
        text = HEAD + BODY[kind] + "\n"
        (tmp_path / "own_piece.py").write_text(text)
        lines = [number for number, line in enumerate(text.splitlines(), 1) if line.endswith("# here")]
        return f"own_piece.py:{lines[0]}" if lines else "own_helper.py:2"

    yield write
    for name in ("own_piece", "own_helper"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize("kind", [kind for kind in BODY if kind != "absent"])
def test_an_error_in_user_code_is_one_line_with_its_location(
    kind: str, user_code, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    location = user_code(kind)
    assert main(["train", *SMALL, "allow_target=[own_piece]", WORDS[kind]]) == 1
    message = capsys.readouterr().err
    assert "Traceback" not in message
    last = message.splitlines()[-1]
    assert last.startswith(f"saddlepoint: {location}: {TYPES[kind]}")
    assert last.endswith("[SADDLEPOINT_TRACEBACK=1 shows the full traceback]")
    for file in (tmp_path / "outputs").glob("*/*/summary.json"):
        summary = json.loads(file.read_text())
        assert (summary["status"], summary["exit"]) == ("failed", 1)
        assert f"saddlepoint: {summary['error']} [SADDLEPOINT_TRACEBACK=1 shows the full traceback]" == last
    begun = kind in ("later", "ended", "watch", "started")
    assert (tmp_path / "outputs").exists() == begun, "what fails before a run begins leaves nothing"


def test_a_missing_import_of_user_code_is_named_with_its_line(user_code, capsys: pytest.CaptureFixture[str]) -> None:
    number = user_code("absent").partition(":")[2]
    assert main(["train", *SMALL, "allow_target=[own_piece]", OBJECTIVE]) == 1
    message = capsys.readouterr().err.splitlines()[-1]
    assert "own_piece needs the module a_module_that_is_absent, which is not installed" in message
    assert message.endswith(f"(own_piece.py, line {number})")


@pytest.mark.parametrize("kind", ["later", "built", "syntax", "shape"])
def test_the_environment_variable_shows_the_full_traceback(
    kind: str, user_code, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    location = user_code(kind)
    monkeypatch.setenv("SADDLEPOINT_TRACEBACK", "1")
    assert main(["train", *SMALL, "allow_target=[own_piece]", WORDS[kind]]) == 1
    message = capsys.readouterr().err
    assert "Traceback (most recent call last)" in message
    assert "own_piece.py" in message.partition("Traceback")[2]
    assert message.splitlines()[-1].startswith(f"saddlepoint: {location}: ")


def test_a_bug_of_the_package_keeps_its_traceback(user_code, monkeypatch: pytest.MonkeyPatch) -> None:
    user_code("watch")

    def broken(*args: object, **given: object) -> None:
        raise RuntimeError("ours")

    monkeypatch.setattr("saddlepoint.experiment.fit.build_trainer", broken)
    with pytest.raises(RuntimeError, match="ours"):
        main(["train", *SMALL, "allow_target=[own_piece]", WORDS["watch"]])


def test_modules_allowed_by_the_environment_are_user_code(
    user_code, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    location = user_code("objective")
    monkeypatch.setenv("SADDLEPOINT_ALLOW_TARGET", "own_piece.loss")
    assert main(["train", *SMALL, OBJECTIVE]) == 1
    assert capsys.readouterr().err.splitlines()[-1].startswith(f"saddlepoint: {location}: NameError: ")


@pytest.mark.slow  # several processes, ten seconds or more
def test_in_many_runs_the_line_is_the_reason_of_the_failure(
    user_code, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    location = user_code("later")
    words = ["train", "-m", "seed=0,1", *SMALL, "allow_target=[own_piece]", OBJECTIVE, "--json"]
    assert main(words) == 1
    shown = capsys.readouterr()
    assert shown.err.count(f"{location}: ValueError: too many") >= 2
    for job in json.loads(shown.out)["runs"]:
        assert (job["state"], job["status"]) == ("failed", "failed")


@pytest.mark.slow  # several processes, ten seconds or more
def test_on_two_ranks_the_error_is_one_line(user_code, tmp_path: Path) -> None:
    location = user_code("later")
    words = [*SMALL, "allow_target=[own_piece]", OBJECTIVE, "devices=2", "device=cpu", "name=two"]
    command = [sys.executable, "-m", "saddlepoint", "train", *words]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=os.environ, check=False)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert f"saddlepoint: {location}: ValueError: too many" in done.stderr
    summary = Run(tmp_path / "outputs" / "two" / "seed0").summary
    assert summary["status"] == "failed"
    assert summary["error"] == f"{location}: ValueError: too many"


DATA = {
    "dataset": ("class Mine(torch.utils.data.Dataset):\n    def __init__(self, shape, **rest):\n        pass",
                "returns a Mine, but must return a saddlepoint.data.data.Data", 9),
    "list": ("class Mine(Data):\n    def splits(self):\n        return [1]", "splits() gives a list", 9),
    "tensor": ("class Mine(Data):\n    def splits(self):\n        return {'train': torch.zeros(9, 1, 8, 8)}",
               "splits() gives a tensor of shape [9, 1, 8, 8] as train", 9),
    "empty": ("class Mine(Data):\n    def splits(self):\n        return {'train': Split('', torch.zeros(0, 1, 8, 8))}",
              "its train split is empty", 9),
    "float": ("class Mine(Data):\n    def splits(self):\n        return {'train': Split('', torch.zeros(9, 1, 8, 8))}",
              "torch.float32, but x must be uint8 [n, C, H, W]", 9),
    "split": ("class Mine(Data):\n    def setup(self, stage=None):\n        pass\n    def split(self, name):\n"
              "        return torch.zeros(9, 1, 8, 8)", "split() returns a tensor of shape [9, 1, 8, 8]", 11),
}  # fmt: skip
TERMS = {
    "vector": ("turn.real.logits", "returns a tensor of shape [8]"),
    "number": ("1.0", "returns a float"),
    "nothing": ("None", "returns None"),
}


@pytest.mark.parametrize(("code", "printed", "line"), DATA.values(), ids=DATA)
def test_invalid_user_defined_data_are_reported_with_their_line(
    code: str, printed: str, line: int, user_code, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    user_code("data")
    (tmp_path / "own_piece.py").write_text(HEAD + code + "\n")
    override = "data={_target_: own_piece.Mine, shape: [1,8,8], classes: null, extractor: null}"
    assert main(["train", *SMALL, "allow_target=[own_piece]", override]) == 1
    message = capsys.readouterr().err.splitlines()[-1]
    assert printed in message
    assert message.endswith(f"(own_piece.py, line {line})")
    assert not (tmp_path / "outputs").exists()


@pytest.mark.parametrize(("value", "printed"), TERMS.values(), ids=TERMS)
def test_a_user_defined_term_without_a_scalar_is_reported_with_its_line(
    value: str, printed: str, user_code, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    user_code("term")
    code = f"class Term(Regularizer):\n    def forward(self, turn):\n        return {value}"
    (tmp_path / "own_piece.py").write_text(f"{HEAD}{code}\n")
    assert main(["train", *SMALL, "allow_target=[own_piece]", WORDS["term"]]) == 1
    message = capsys.readouterr().err.splitlines()[-1]
    assert message.startswith(f"saddlepoint: regularizer.discriminator.mine {printed} instead of a scalar tensor")
    assert message.endswith("(own_piece.py, line 9)")
    assert not (tmp_path / "outputs").exists()


def test_a_generator_with_a_wrong_shape_is_reported_with_its_line(
    user_code, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    user_code("key")
    code = (
        "class Net(nn.Module):\n    def __init__(self, latent, shape):\n        super().__init__()\n"
        "        self.layer = nn.Linear(1, 1)\n"
        "    def forward(self, latent, y=None):\n        return latent['z'][:, :100].view(-1, 1, 10, 10)"
    )
    (tmp_path / "own_piece.py").write_text(f"{HEAD}{code}\n")
    assert main(["train", *SMALL, "allow_target=[own_piece]", NETWORK]) == 1
    message = capsys.readouterr().err.splitlines()[-1]
    assert message.endswith("the generator makes [1, 10, 10], but data.shape is [1, 8, 8] (own_piece.py, line 12)")


def test_in_python_exceptions_are_not_changed(user_code, tmp_path: Path) -> None:
    from saddlepoint.config.compose import compose
    from saddlepoint.experiment.train import train

    location = user_code("later")
    with pytest.raises(ValueError, match="too\nmany"):
        train(compose([*SMALL, "allow_target=[own_piece]", OBJECTIVE, "name=python"]))
    assert Run(tmp_path / "outputs" / "python" / "seed0").summary["error"] == f"{location}: ValueError: too many"


def test_in_python_a_value_error_of_user_code_is_a_mistake(user_code) -> None:
    from saddlepoint.config.compose import compose
    from saddlepoint.experiment.build import build_game

    user_code("built")
    with pytest.raises(Mistake, match=r"^architecture.generator: no \(own_piece.py, line \d+\)$"):
        build_game(compose([*SMALL, "allow_target=[own_piece]", NETWORK]))


def test_an_invalid_callback_is_refused_before_anything_is_written(
    user_code, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    user_code("watch")
    (tmp_path / "own_piece.py").write_text("def watch():\n    return 3\n")
    override = "+callback.mine={_target_: own_piece.watch}"
    assert main(["train", *SMALL, "allow_target=[own_piece]", override]) == 1
    message = capsys.readouterr().err.splitlines()[-1]
    assert message.startswith("saddlepoint: callback.mine: own_piece.watch returns an int, not a Lightning Callback")
    assert not (tmp_path / "outputs").exists()


def test_a_prior_part_without_a_size_is_reported_by_its_key(
    user_code, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    user_code("watch")
    assert main(["train", *SMALL, "allow_target=[own_piece]", "prior.z={_target_: own_piece.Watch}"]) == 1
    assert "prior.z.dim" in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "outputs").exists()
