"""Saddlepoint outside its checkout: an installed wheel, and user-defined components."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import zipfile

import numpy
import pytest

from saddlepoint.cli import main

SMALL = ["images=1280", "architecture.generator.widths=[16]", "architecture.discriminator.widths=[16]", "logger=none"]


def saddlepoint(folder, *arguments, **environment):
    env = {**os.environ, **environment}
    return subprocess.run(
        [sys.executable, "-m", "saddlepoint", *arguments],
        cwd=folder,
        env=env,
        capture_output=True,
        text=True,
        timeout=200,
    )


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The command line in this process, in the folder of the test: a function, as `saddlepoint` above."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)  # as the command line does
    before = set(sys.modules)

    def command(*arguments, **environment):
        with monkeypatch.context() as patch:
            for name, value in environment.items():
                patch.setenv(name, value)
            return main(arguments)

    yield command
    for name in set(sys.modules) - before:
        if name.startswith("my"):  # the modules that docs/extending.md defines
            del sys.modules[name]


@pytest.fixture(scope="module")
def wheel(checkout, tmp_path_factory):
    """The built wheel, unpacked as an installer would."""
    if shutil.which("git") is None and not (checkout / "pyproject.toml").exists():
        pytest.skip("not a checkout")
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder], cwd=checkout, check=True,
                   capture_output=True)  # fmt: skip
    (built,) = folder.glob("*.whl")
    with zipfile.ZipFile(built) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def test_the_wheel_runs_in_an_empty_folder(wheel, tmp_path):
    assert (wheel / "saddlepoint" / "conf" / "objective" / "hinge.yaml").exists()
    process = saddlepoint(tmp_path, "train", *SMALL, PYTHONPATH=str(wheel))
    assert process.returncode == 0, process.stderr
    (run,) = (tmp_path / "outputs").glob("digits-mlp-nonsaturating-*/seed0")
    summary = json.loads((run / "summary.json").read_text())
    assert (summary["status"], summary["images"]) == ("finished", 1280)
    where = subprocess.run([sys.executable, "-c", "import saddlepoint; print(saddlepoint.__file__)"],
                           env={**os.environ, "PYTHONPATH": str(wheel)}, capture_output=True, text=True)  # fmt: skip
    assert where.stdout.startswith(str(wheel)), "it was the wheel that ran"


def test_the_wheel_contains_the_templates_styles_and_scripts_of_the_html_pages(wheel, checkout):
    source = checkout / "src" / "saddlepoint"
    assets = [path.relative_to(source) for path in source.rglob("*") if path.suffix in (".j2", ".css", ".js")]
    assert len(assets) > 5
    assert not [path for path in assets if not (wheel / "saddlepoint" / path).exists()]


def test_an_edited_yaml_of_a_checkout_takes_effect_at_once(checkout, tmp_path):
    copy = tmp_path / "checkout"
    shutil.copytree(checkout / "src", copy / "src", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(checkout / "conf", copy / "conf")
    path = copy / "conf" / "objective" / "minimax.yaml"
    path.write_text(path.read_text().replace("real_label: 1.0", "real_label: 0.8"))
    process = saddlepoint(tmp_path, "train", "objective=minimax", "--cfg", "job", PYTHONPATH=str(copy / "src"))
    assert "real_label: 0.8" in process.stdout, process.stderr


@pytest.fixture
def user_folder(checkout, tmp_path):
    """A researcher's folder, exactly as docs/extending.md shows it."""
    text = (checkout / "docs" / "extending.md").read_text()
    python = re.search(r"```python\n# mylosses.py\n(.*?)```", text, re.S)
    yaml = re.search(r"```yaml\n# conf/objective/mine.yaml\n(.*?)```", text, re.S)
    (tmp_path / "conf" / "objective").mkdir(parents=True)
    (tmp_path / "mylosses.py").write_text(python[1])
    (tmp_path / "conf" / "objective" / "mine.yaml").write_text(yaml[1])
    return tmp_path


def test_a_user_defined_objective_needs_one_python_file_and_one_yaml(user_folder, here, capsys):
    arguments = ["objective=mine", "objective.discriminator.margin=0.5", "regularizer=[r1]", *SMALL]
    assert here("train", "--config-dir", "conf", *arguments) == 1
    assert "'allow_target=[mylosses]'" in capsys.readouterr().err, "the message contains the override"
    arguments += ["metric=[]", "evaluation.extractor=null", "allow_target=[mylosses]"]
    assert here("train", "--config-dir", "conf", *arguments) == 0
    (run,) = (user_folder / "outputs").glob("digits-mlp-mine-r1-*/seed0")
    printed = capsys.readouterr().err
    assert "adversarial (mine" in printed or "mylosses" in printed
    sampling = ["sample", f"run={run.relative_to(user_folder)}", "n=4", "to=x.npz"]
    assert here(*sampling) == 1, "a run folder may have been sent: it allows nothing"
    assert here(*sampling, SADDLEPOINT_ALLOW_TARGET="mylosses") == 0
    assert (user_folder / "x.npz").exists()
    capsys.readouterr()
    assert here("train", "--config-dir", "conf", "objective=mini") == 1
    assert "mine" in capsys.readouterr().err


@pytest.mark.slow
def test_a_user_defined_game_is_trained_resumed_and_measured_as_documented(checkout, tmp_path):
    """Three players, a side that two of them make, and a term that needs an encoder: trained, resumed, evaluated."""
    text = (checkout / "docs" / "extending.md").read_text()
    for path in ("mygame.py", "conf/game/autoencoding.yaml", "conf/regularizer/autoencoding.yaml"):
        block = re.search(rf"```(?:python|yaml)\n# {re.escape(path)}\n(.*?)```", text, re.S)
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(block[1])
    command = ["train", "--config-dir", "conf", "game=autoencoding", "regularizer=[autoencoding]", *SMALL]
    command.append("callback.journal.images_between=320")
    process = saddlepoint(tmp_path, *command, "allow_target=[mygame]")
    assert process.returncode == 0, process.stderr
    (run,) = (tmp_path / "outputs").glob("digits-mlp-nonsaturating-autoencoding-*/seed0")
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    losses = [row for row in rows if "encoder/latent_regression" in row]
    assert {"discriminator/adversarial/fake", "discriminator/adversarial/reconstruction"} <= set(losses[-1])
    assert losses[-1]["encoder/latent_regression"] < losses[0]["encoder/latent_regression"]
    more = saddlepoint(tmp_path, *command, "images=2560", "allow_target=[mygame]")
    assert "resuming at 1,280 images" in more.stderr
    evaluation = ["evaluate", f"run={run.relative_to(tmp_path)}", "evaluation.second_extractor=null"]
    measured = saddlepoint(tmp_path, *evaluation, SADDLEPOINT_ALLOW_TARGET="mygame")
    assert measured.returncode == 0, measured.stderr
    assert "fid" in measured.stdout


@pytest.mark.slow  # half a minute
def test_a_user_defined_modality_is_trained_sampled_and_measured_as_documented(checkout, tmp_path):
    text = (checkout / "docs" / "extending.md").read_text()
    for path in ("myvolumes.py", "conf/data/balls.yaml"):
        block = re.search(rf"```(?:python|yaml)\n# {re.escape(path)}\n(.*?)```", text, re.S)
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(block[1])
    allow = {"SADDLEPOINT_ALLOW_TARGET": "myvolumes"}
    process = saddlepoint(
        tmp_path, "train", "--config-dir", "conf", "data=balls", "architecture.generator.bounded=true", *SMALL, **allow
    )
    assert process.returncode == 0, process.stderr
    (run,) = (tmp_path / "outputs").glob("balls-mlp-nonsaturating-*/seed0")
    final = json.loads((run / "summary.json").read_text())["final"]
    assert final["fid_identity_100_train"]["contract"]["resolution"] == "1x8x8x8"
    assert (run / "samples" / "000001280.png").exists()
    sampled = saddlepoint(tmp_path, "sample", f"run={run.relative_to(tmp_path)}", "n=4", "to=balls.npz", **allow)
    assert sampled.returncode == 0, sampled.stderr
    array = numpy.load(tmp_path / "balls.npz")["arr_0"]
    assert (array.dtype, array.shape) == (numpy.uint8, (4, 1, 8, 8, 8))
    refused = saddlepoint(tmp_path, "sample", f"run={run.relative_to(tmp_path)}", "to=balls/", **allow)
    assert "write them to an array.npz" in refused.stderr


def test_the_notebook_example_runs_as_documented(checkout, user_folder, here):
    text = (checkout / "docs" / "extending.md").read_text()
    code = re.search(r"## From Python.*?```python\n(.*?)```", text, re.S)[1].replace("images=20_000", "images=1280")
    defined = {}
    exec(code, defined)
    assert defined["run"].summary["status"] == "finished"
    assert defined["game"].sample(3).shape == (3, 1, 8, 8)
    assert defined["saddlepoint"].compose(["objective=mine"], config_dir="conf").choice.objective == "mine"


def test_a_user_defined_conditional_layer_is_trained_and_sampled_as_documented(checkout, tmp_path, here, capsys):
    """Trained by class, and sampled by class."""
    text = (checkout / "docs" / "extending.md").read_text()
    for path in ("mylayers.py", "conf/layer/film.yaml"):
        block = re.search(rf"```(?:python|yaml)\n# {re.escape(path)}\n(.*?)```", text, re.S)
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(block[1])
    (line,) = re.findall(r"^    saddlepoint (train .*norm=film.*)$", text, re.M)
    assert here(*shlex.split(line), *SMALL, "metric=[]", "evaluation.extractor=null") == 0
    printed = capsys.readouterr().err
    assert "run: " in printed
    assert "no network and no term uses it" not in printed
    (run,) = (tmp_path / "outputs").glob("digits-mlp-nonsaturating-*/seed0")
    sampling = ["sample", f"run={run.relative_to(tmp_path)}", "n=4", "to=x.npz", "label=3"]
    assert here(*sampling, SADDLEPOINT_ALLOW_TARGET="mylayers") == 0
    assert (tmp_path / "x.npz").exists()
