"""Saddlepoint from outside its checkout: an installed wheel, and a researcher's own pieces."""

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

SMALL = ["images=1280", "architecture.generator.widths=[16]", "architecture.discriminator.widths=[16]", "logger=none"]


def saddlepoint(folder, *words, **environment):
    env = {**os.environ, **environment}
    return subprocess.run(
        [sys.executable, "-m", "saddlepoint", *words], cwd=folder, env=env, capture_output=True, text=True, timeout=200
    )


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
    done = saddlepoint(tmp_path, "train", "images=5000", PYTHONPATH=str(wheel))
    assert done.returncode == 0, done.stderr
    (run,) = (tmp_path / "outputs").glob("digits-mlp-nonsaturating-*/seed0")
    summary = json.loads((run / "summary.json").read_text())
    assert (summary["status"], summary["images"]) == ("finished", 5056)
    where = subprocess.run([sys.executable, "-c", "import saddlepoint; print(saddlepoint.__file__)"],
                           env={**os.environ, "PYTHONPATH": str(wheel)}, capture_output=True, text=True)  # fmt: skip
    assert where.stdout.startswith(str(wheel)), "it was the wheel that ran"


def test_the_wheel_holds_the_templates_the_style_and_the_script_of_our_pages(wheel, checkout):
    source = checkout / "src" / "saddlepoint"
    beside = [path.relative_to(source) for path in source.rglob("*") if path.suffix in (".j2", ".css", ".js")]
    assert len(beside) > 5
    assert not [path for path in beside if not (wheel / "saddlepoint" / path).exists()]


def test_an_edited_yaml_of_a_checkout_takes_effect_at_once(checkout, tmp_path):
    copy = tmp_path / "checkout"
    shutil.copytree(checkout / "src", copy / "src", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(checkout / "conf", copy / "conf")
    path = copy / "conf" / "objective" / "minimax.yaml"
    path.write_text(path.read_text().replace("real_label: 1.0", "real_label: 0.8"))
    done = saddlepoint(tmp_path, "train", "objective=minimax", "--cfg", "job", PYTHONPATH=str(copy / "src"))
    assert "real_label: 0.8" in done.stdout, done.stderr


@pytest.fixture
def own(checkout, tmp_path):
    """A researcher's folder, exactly as docs/extending.md shows it."""
    text = (checkout / "docs" / "extending.md").read_text()
    python = re.search(r"```python\n# mylosses.py\n(.*?)```", text, re.S)
    yaml = re.search(r"```yaml\n# conf/objective/mine.yaml\n(.*?)```", text, re.S)
    (tmp_path / "conf" / "objective").mkdir(parents=True)
    (tmp_path / "mylosses.py").write_text(python[1])
    (tmp_path / "conf" / "objective" / "mine.yaml").write_text(yaml[1])
    return tmp_path


def test_a_new_objective_is_one_file_and_one_yaml_in_a_folder_of_ones_own(own):
    words = ["objective=mine", "objective.discriminator.margin=0.5", "regularizer=[r1]", *SMALL]
    refused = saddlepoint(own, "train", "--config-dir", "conf", *words)
    assert (refused.returncode, "'allow_target=[mylosses]'" in refused.stderr) == (1, True), "it says what to type"
    done = saddlepoint(own, "train", "--config-dir", "conf", *words, "allow_target=[mylosses]")
    assert done.returncode == 0, done.stderr
    (run,) = (own / "outputs").glob("digits-mlp-mine-r1-*/seed0")
    assert "adversarial (mine" in done.stderr or "mylosses" in done.stderr
    sampling = ["sample", f"run={run.relative_to(own)}", "n=4", "to=x.npz"]
    assert saddlepoint(own, *sampling).returncode == 1, "a run folder may have been sent: it allows nothing"
    sampled = saddlepoint(own, *sampling, SADDLEPOINT_ALLOW_TARGET="mylosses")
    assert sampled.returncode == 0, sampled.stderr
    assert (own / "x.npz").exists()
    mistyped = saddlepoint(own, "train", "--config-dir", "conf", "objective=mini")
    assert mistyped.returncode == 1
    assert "mine" in mistyped.stderr


@pytest.mark.slow
def test_a_game_of_ones_own_is_two_yaml_and_its_networks_as_documented(checkout, tmp_path):
    """Three players, a side that two of them make, and a term that needs an encoder: trained, resumed, evaluated."""
    text = (checkout / "docs" / "extending.md").read_text()
    for place in ("mygame.py", "conf/game/autoencoding.yaml", "conf/regularizer/autoencoding.yaml"):
        block = re.search(rf"```(?:python|yaml)\n# {re.escape(place)}\n(.*?)```", text, re.S)
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).write_text(block[1])
    command = ["train", "--config-dir", "conf", "game=autoencoding", "regularizer=[autoencoding]", *SMALL]
    command.append("callback.journal.images_between=320")
    done = saddlepoint(tmp_path, *command, "allow_target=[mygame]")
    assert done.returncode == 0, done.stderr
    (run,) = (tmp_path / "outputs").glob("digits-mlp-nonsaturating-autoencoding-*/seed0")
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    losses = [row for row in rows if "encoder/latent_regression" in row]
    assert {"discriminator/adversarial/fake", "discriminator/adversarial/reconstruction"} <= set(losses[-1])
    assert losses[-1]["encoder/latent_regression"] < losses[0]["encoder/latent_regression"]
    more = saddlepoint(tmp_path, *command, "images=2560", "allow_target=[mygame]")
    assert "going on at 1,280 images" in more.stderr
    asked = ["evaluate", f"run={run.relative_to(tmp_path)}", "evaluation.second=null"]
    measured = saddlepoint(tmp_path, *asked, SADDLEPOINT_ALLOW_TARGET="mygame")
    assert measured.returncode == 0, measured.stderr
    assert "fid" in measured.stdout


@pytest.mark.slow  # half a minute
def test_a_modality_of_ones_own_is_trained_sampled_and_measured_as_documented(checkout, tmp_path):
    text = (checkout / "docs" / "extending.md").read_text()
    for place in ("myvolumes.py", "conf/data/balls.yaml"):
        block = re.search(rf"```(?:python|yaml)\n# {re.escape(place)}\n(.*?)```", text, re.S)
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).write_text(block[1])
    allow = {"SADDLEPOINT_ALLOW_TARGET": "myvolumes"}
    done = saddlepoint(
        tmp_path, "train", "--config-dir", "conf", "data=balls", "architecture.generator.bounded=true", *SMALL, **allow
    )
    assert done.returncode == 0, done.stderr
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


def test_the_lines_for_a_notebook_run_as_documented(checkout, own):
    text = (checkout / "docs" / "extending.md").read_text()
    code = re.search(r"## From Python.*?```python\n(.*?)```", text, re.S)[1].replace("images=20_000", "images=1280")
    code += "\nassert run.summary['status'] == 'finished' and game.sample(3).shape == (3, 1, 8, 8)\nprint('done')\n"
    code += "other = saddlepoint.compose(['objective=mine'], config_dir='conf')\n"
    code += "assert other.choice.objective == 'mine'\n"
    done = subprocess.run([sys.executable, "-c", code], cwd=own, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    assert "done" in done.stdout


def test_a_layer_of_ones_own_that_uses_a_condition_is_a_class_and_a_yaml_as_documented(checkout, tmp_path):
    """Trained by class, and sampled by class."""
    text = (checkout / "docs" / "extending.md").read_text()
    for place in ("mylayers.py", "conf/layer/film.yaml"):
        block = re.search(rf"```(?:python|yaml)\n# {re.escape(place)}\n(.*?)```", text, re.S)
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).write_text(block[1])
    (line,) = re.findall(r"^    saddlepoint (train .*norm=film.*)$", text, re.M)
    done = saddlepoint(tmp_path, *shlex.split(line), *SMALL, "metric=[]", "evaluation.extractor=null")
    assert done.returncode == 0, done.stderr
    assert "no network and no term uses it" not in done.stderr
    (run,) = (tmp_path / "outputs").glob("digits-mlp-nonsaturating-*/seed0")
    sampling = ["sample", f"run={run.relative_to(tmp_path)}", "n=4", "to=x.npz", "label=3"]
    sampled = saddlepoint(tmp_path, *sampling, SADDLEPOINT_ALLOW_TARGET="mylayers")
    assert sampled.returncode == 0, sampled.stderr
    assert (tmp_path / "x.npz").exists()
