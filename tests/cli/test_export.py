"""What leaves a run: files that are the original, a card that says what is on record, nothing half-written."""

from __future__ import annotations

import json
import re
import shutil
import sys
from types import ModuleType, SimpleNamespace

import pytest
import torch
import yaml
from PIL import Image
from runs import run

import saddlepoint
from saddlepoint.cli import main
from saddlepoint.error import Mistake
from saddlepoint.export import agreement, hub
from saddlepoint.run.folder import Run

ASKED = [
    "game=conditional",
    "architecture.generator._target_=conditional.Generator", "+layer@architecture.generator.norm=virtual_batch_norm",
    "architecture.generator.norm.reference=8", "allow_target=[conditional]",
]  # fmt: skip


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def record(outputs):
    return run(outputs, "name=plain", "callback.evaluation.images_between=640")


@pytest.fixture(scope="module")
def folder(record):
    """All three formats of one run."""
    assert called("export", f"run={record.folder}", "licence=apache-2.0") == 0
    return record.folder / "export" / "000001280"


@pytest.fixture(scope="module")
def asked(outputs):
    """A run whose generator is asked for a class, and has a reference batch."""
    return run(outputs, "name=asked", *ASKED, "callback.evaluation.images_between=1280")


def called(*words):
    return main([str(word) for word in words])


def code_of(page):
    return re.findall(r"```python\n(.*?)```", page, re.DOTALL)


# ------------------------------------------------------------------------------------------------------------ the files


def test_an_export_is_the_runs_generator_read_back(record, folder):
    game = saddlepoint.load(record.folder)
    generator = saddlepoint.exported(folder)
    sample = generator.sampler(game.seed)
    assert (sample(100)[0] - game.sample(100)).abs().max() < 1e-6
    card = json.loads((folder / "card.json").read_text())
    assert set(card["formats"]) == {"safetensors", "onnx", "program"}
    assert all(own["difference"] <= agreement.TOLERANCE for own in card["formats"].values())
    assert not (folder.parent / ".000001280").exists()
    assert [path.name for path in folder.parent.iterdir()] == ["000001280"]


def test_each_way_to_use_it_that_the_card_shows_works_as_it_stands_there(folder, monkeypatch):
    monkeypatch.chdir(folder)
    blocks = code_of((folder / "README.md").read_text())
    assert len(blocks) == 3
    for block in blocks:
        names: dict = {}
        exec(block, names)
        assert tuple(names["x"].shape) == (16, 1, 8, 8)
        assert abs(float(names["x"].mean())) < 1


@pytest.mark.slow  # the files of such a generator are tried without a run in tests/export
def test_a_generator_that_is_asked_for_a_class_and_has_a_reference_batch_is_exported_too(asked, tmp_path, monkeypatch):
    words = ["allow_target=[conditional]", "formats=[safetensors]"]
    assert called("export", f"run={asked.folder}", f"to={tmp_path}/x", *words) == 0
    game = load_allowed(asked.folder)
    generator = saddlepoint.exported(tmp_path / "x", allow=["conditional"])
    assert generator.conditions == {"label": 10}
    latent, y = generator.latent(50), torch.arange(50) % 10
    assert (generator(latent, {"label": y}) - game(latent, {"label": y})).abs().max() < 1e-6
    assert (generator(latent, {"label": y}) - generator(latent, {"label": (y + 1) % 10})).abs().max() > 1e-3
    monkeypatch.chdir(tmp_path / "x")
    for block in code_of((tmp_path / "x" / "README.md").read_text()):
        names: dict = {}
        exec(block, names)
        assert tuple(names["x"].shape) == (16, 1, 8, 8)


def load_allowed(folder):
    from saddlepoint.experiment.build import build_game
    from saddlepoint.experiment.restore import restore_checkpoint
    from saddlepoint.experiment.run_config import load_run_config

    game = build_game(load_run_config(Run(folder), ["allow_target=[conditional]"]))
    restore_checkpoint(game, Run(folder))
    return game


@pytest.mark.slow
def test_another_moment_and_the_raw_weights_are_other_generators(record, folder, tmp_path):
    assert (
        called("export", f"run={record.folder}", "at=640", f"to={tmp_path}/early", "formats=[safetensors]") == 1
    )  # none
    words = ["average=false", "formats=safetensors"]
    assert called("export", f"run={record.folder}", "at=0", f"to={tmp_path}/first", "formats=safetensors") == 0
    assert called("export", f"run={record.folder}", *words, f"to={tmp_path}/raw") == 0
    last, first, raw = (saddlepoint.exported(f) for f in (folder, tmp_path / "first", tmp_path / "raw"))
    latent = last.latent(20)
    assert (last(latent) - first(latent)).abs().max() > 1e-3
    assert (last(latent) - raw(latent)).abs().max() > 1e-4
    card = json.loads((tmp_path / "raw" / "card.json").read_text())
    assert (card["weights"], card["scores"]) == ("raw", {})
    assert "Not measured for these weights" in (tmp_path / "raw" / "README.md").read_text()


# ------------------------------------------------------------------------------------------------------------- the card


def test_the_card_says_what_is_on_record_and_no_more(record, folder, checkout):
    page = (folder / "README.md").read_text()
    front = yaml.safe_load(page.split("---")[1])
    assert (front["license"], front["library_name"]) == ("apache-2.0", "saddlepoint")
    assert {"gan", "digits", "mlp", "nonsaturating"} <= set(front["tags"])
    for key, score in record.summary["final"].items():
        assert f"`{key}` | **{score['value']:.4g}**" in page
    assert "train 897, validation 450, test 450" in page
    assert "held-out reals" in page
    assert "**One seed.**" in page
    assert "Not measured. `saddlepoint memorisation" in page
    whole = page + (folder / "card.json").read_text() + (folder / "training.yaml").read_text()
    assert str(record.folder.parent.parent) not in whole
    assert str(checkout) not in whole
    assert Image.open(folder / "samples.png").width > 300


def test_the_cards_command_trains_the_same_run_again(folder, record):
    from saddlepoint.config.compose import compose
    from saddlepoint.config.identity import identity
    from saddlepoint.experiment.run_config import load_run_config

    program, train, *words = json.loads((folder / "card.json").read_text())["command"]
    assert (program, train) == ("saddlepoint", "train")
    assert identity(compose(words)) == identity(load_run_config(record))
    assert {"images=1280", "seed=0"} <= set(words)


def test_where_and_how_to_measure_may_be_said_and_changes_nothing_that_is_told(record, folder, tmp_path):
    words = [f"outputs={tmp_path}/o", f"cache={tmp_path}/c", "device=cpu", "evaluation.n=100", "threads=1"]
    assert called("export", f"run={record.folder}", f"to={tmp_path}/x", "formats=[safetensors]", *words) == 0
    for file in ("training.yaml", "config.yaml"):
        assert (tmp_path / "x" / file).read_text() == (folder / file).read_text().replace("apache-2.0", "null")
    cards = [json.loads((place / "card.json").read_text()) for place in (tmp_path / "x", folder)]
    assert cards[0]["command"] == cards[1]["command"]


def test_a_memorisation_reading_is_told_of_the_weights_that_were_read_alone(record, tmp_path):
    from saddlepoint.experiment.run_config import load_run_config
    from saddlepoint.export.card_facts import GeneratorVersion, card_facts

    own = Run(shutil.copytree(record.folder, tmp_path / "plain" / "seed0"))

    def told(weights):
        return card_facts(own, load_run_config(own), GeneratorVersion("last", 1280, weights))["memorisation"]

    own.append("memorisation.jsonl", {"images": 1280, "n": 1})  # of older code, which did not say whose
    assert (told("averaged"), told("raw")) == (None, None)
    own.append("memorisation.jsonl", {"images": 1280, "weights": "averaged", "n": 2})
    own.append("memorisation.jsonl", {"images": 1280, "weights": "raw", "n": 3})
    assert (told("averaged")["n"], told("raw")["n"]) == (2, 3)


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(
            ["objective=wasserstein", "regularizer=[gradient_penalty]", "game.players.generator.every=5"],
            marks=pytest.mark.slow,
        ),
        pytest.param(
            ["architecture=conv28", "data=mnist", "+layer@architecture.generator.norm=virtual_batch_norm", "batch=32"],
            marks=pytest.mark.slow,
        ),
        pytest.param(
            ["experiment=objectives_digits", "objective=hinge", "optimizer.generator.lr=3e-4"], marks=pytest.mark.slow
        ),
        pytest.param(
            [
                "+schedule@optimizer.generator.lr=linear",
                "optimizer.generator.lr.start=2e-4",
                "optimizer.generator.lr.end=0",
            ],
            marks=pytest.mark.slow,
        ),
        pytest.param(["game.players.generator.average=null"], marks=pytest.mark.slow),
    ],
    ids=lambda words: words[0],
)
def test_a_config_is_told_as_words_that_make_it_again(words):
    from saddlepoint.config.compose import compose
    from saddlepoint.config.identity import identity
    from saddlepoint.export.command_line import to_command_line

    config = compose(words)
    told = to_command_line(config)
    assert told is not None
    assert identity(compose(told)) == identity(config)
    assert len(told) <= len(words) + 4


def test_seeds_beside_it_are_counted_with_mean_and_spread(outputs, record, tmp_path):
    other = Run(shutil.copytree(record.folder, outputs / "plain" / "seed1"))
    other.config.write_text(other.config.read_text().replace("seed: 0\n", "seed: 1\n", 1))
    final = other.summary["final"]
    final["fid_digits_900_train"]["value"] += 3
    other.update_summary(final=final)
    assert called("export", f"run={record.folder}", f"to={tmp_path}/x", "formats=[safetensors]") == 0
    told = json.loads((tmp_path / "x" / "card.json").read_text())["seeds"]["fid_digits_900_train"]
    values = [r.summary["final"]["fid_digits_900_train"]["value"] for r in (record, other)]
    assert told["seeds"] == [0, 1]
    assert told["mean"] == pytest.approx(sum(values) / 2)
    assert told["std"] == pytest.approx(abs(values[0] - values[1]) / 2**0.5)


def test_a_recipe_of_which_a_seed_failed_has_no_mean_on_the_card_and_the_seed_is_named(outputs, record, tmp_path):
    for seed, status in ((1, "finished"), (2, "diverged")):
        other = Run(shutil.copytree(record.folder, outputs / "plain" / f"seed{seed}", dirs_exist_ok=True))
        other.config.write_text(other.config.read_text().replace("seed: 0\n", f"seed: {seed}\n", 1))
        other.update_summary(status=status)
    assert called("export", f"run={record.folder}", f"to={tmp_path}/x", "formats=[safetensors]") == 0
    told = json.loads((tmp_path / "x" / "card.json").read_text())["seeds"]["fid_digits_900_train"]
    assert (told["seeds"], told["failed"], told["mean"], told["std"]) == ([0, 1], [2], None, None)
    assert "**1 of its seeds failed** (2)" in (tmp_path / "x" / "README.md").read_text()
    for seed in (1, 2):
        shutil.rmtree(outputs / "plain" / f"seed{seed}")


@pytest.mark.slow
def test_memorisation_is_measured_for_the_card_when_asked(record, tmp_path):
    words = ["formats=[safetensors]", "memorisation=true", "evaluation.extractor=null"]
    assert called("export", f"run={record.folder}", f"to={tmp_path}/x", *words) == 0
    page = (tmp_path / "x" / "README.md").read_text()
    row = record.events("memorisation.jsonl")[0][-1]
    assert f"p = {row['alarm']['p']:.3g}" in page
    assert "distance ratio" in page


# ------------------------------------------------------------------------------------------------- what cannot be done


@pytest.fixture(scope="module")
def waves(outputs):
    """A run whose generator ONNX cannot say."""
    words = ["architecture.generator._target_=conditional.Waves", "allow_target=[conditional]", "metric=[]"]
    return run(outputs, "name=waves", "images=128", *words)


def test_the_remedy_names_the_formats_that_were_written_and_none_that_was_not_tried(waves, tmp_path, capsys):
    words = [f"run={waves.folder}", "allow_target=[conditional]"]
    for formats, said in ("onnx,program", "uses; formats=[program] works\n"), ("onnx", "(Bessel) uses\n"):
        assert called("export", *words, f"to={tmp_path}/{len(formats)}", f"formats=[{formats}]") == 1
        assert capsys.readouterr().err.count(said) == 1


@pytest.mark.slow  # the message is tried without a run in tests/export
def test_what_onnx_cannot_say_is_left_out_with_its_operator_and_the_rest_is_there(waves, tmp_path, capsys):
    capsys.readouterr()
    assert called("export", f"run={waves.folder}", f"to={tmp_path}/x", "allow_target=[conditional]") == 1
    said = capsys.readouterr().err
    obstacle = "onnx: NOT written: ONNX has no operator bessel_j0, which generator.between (Bessel) uses"
    assert obstacle in said.replace("\n", " ")
    assert "formats=[safetensors,program] works" in said
    assert {p.name for p in (tmp_path / "x").glob("generator*")} == {"generator.safetensors", "generator.pt2"}
    assert "**No onnx:**" in (tmp_path / "x" / "README.md").read_text()


@pytest.mark.slow
def test_a_format_that_differs_is_not_written(record, tmp_path, monkeypatch, capsys):
    from saddlepoint.export.format import program

    honest = program.load_program
    monkeypatch.setattr(program, "load_program", lambda path: lambda *inputs: honest(path)(*inputs) + 2e-4)
    words = ["formats=[safetensors,program]", f"to={tmp_path}/x"]
    assert called("export", f"run={record.folder}", *words) == 1
    assert "it differs from the original by 0.0002" in capsys.readouterr().err
    assert not (tmp_path / "x" / "generator.pt2").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_where_no_format_can_be_written_nothing_is(record, tmp_path, monkeypatch, capsys):
    from saddlepoint.export import agreement
    from saddlepoint.export.format import safetensors

    monkeypatch.setattr(safetensors, "load_weights", lambda network, path: network)  # as if the weights were lost
    assert agreement.TOLERANCE == 1e-4
    assert called("export", f"run={record.folder}", "formats=[safetensors]", f"to={tmp_path}/y") == 1
    assert "nothing was written: safetensors: it differs" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["formats=[onxx]"], "no such format. Did you mean onnx?"),
        (["formats=[]"], "name at least one"),
        (["at=best2"], "at=best2: one moment at a time: last, best, previous"),
        (["hub=me"], "hub=me must be <user or organisation>/<name>"),
        (["average=perhaps"], "average=perhaps: average is true or false"),
        (["licence=[mit,apache]"], "licence=[mit,apache]: licence is text or null"),
        (["objective=hinge"], "an export cannot change how the run was trained"),
        (["images=99_000_000"], "images: 1280 -> 99000000"),
        (["optimizer.generator.lr=3"], "-> 3: an export cannot"),
        (["seed=7"], "seed: 0 -> 7"),
        (["name=other"], "name: plain -> other"),
    ],
)
def test_bad_words_are_answered_in_a_line(record, tmp_path, words, said, capsys):
    assert called("export", f"run={record.folder}", f"to={tmp_path}/x", *words) == 1
    told = capsys.readouterr().err
    assert said in told
    assert "Traceback" not in told
    assert not list(tmp_path.iterdir())


def test_a_folder_that_holds_something_is_left_alone_and_a_run_without_checkpoint_named(record, tmp_path, capsys):
    (tmp_path / "mine").write_text("")
    assert called("export", f"run={record.folder}", f"to={tmp_path}") == 1
    assert "it exists already" in capsys.readouterr().err
    bare = tmp_path / "seed0"
    bare.mkdir()
    (bare / "config.yaml").write_text((record.folder / "config.yaml").read_text())
    assert called("export", f"run={bare}") == 1
    assert "no last checkpoint; there: none" in capsys.readouterr().err


def test_the_folder_that_one_stands_in_is_no_place_for_a_new_one(record, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert called("export", f"run={record.folder}", "to=.") == 1
    assert "to=. must be the name of a new folder, such as to=generator" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


# -------------------------------------------------------------------------------------------------------------- the hub


@pytest.fixture
def service(monkeypatch):
    """A huggingface_hub that writes down what it is asked."""
    seen = SimpleNamespace(created=[], uploaded=[], logged_in=True)

    class HfApi:
        def whoami(self):
            if not seen.logged_in:
                raise RuntimeError("Token is required, but no token found.\nLog in.")
            return {"name": "me"}

        def create_repo(self, repo_id, repo_type, exist_ok):
            seen.created.append(repo_id)

        def upload_folder(self, folder_path, repo_id, repo_type, commit_message):
            from pathlib import Path

            seen.uploaded.append((repo_id, sorted(path.name for path in Path(folder_path).iterdir())))

    module = ModuleType("huggingface_hub")
    module.HfApi = HfApi
    monkeypatch.setitem(sys.modules, "huggingface_hub", module)
    return seen


@pytest.mark.slow
def test_a_push_uploads_every_file_that_lies_there(record, tmp_path, service, capsys):
    assert called("export", f"run={record.folder}", f"to={tmp_path}/x", "formats=[safetensors]", "hub=me/digits") == 0
    files = ["README.md", "card.json", "config.yaml", "generator.safetensors", "samples.png", "training.yaml"]
    assert service.created == ["me/digits"]
    assert service.uploaded == [("me/digits", files)]
    assert "pushed: https://huggingface.co/me/digits" in capsys.readouterr().err


def test_who_is_logged_in_uploads_every_file_and_who_is_not_none(folder, service):
    service.logged_in = False
    with pytest.raises(Mistake, match=r"you are not logged in to the hub .*no token found\.\)\. Log in: hf auth login"):
        hub.push(folder, "me/digits")
    assert (service.created, service.uploaded) == ([], [])
    service.logged_in = True
    assert hub.push(folder, "me/digits") == "https://huggingface.co/me/digits"
    assert service.uploaded == [("me/digits", sorted(path.name for path in folder.iterdir()))]


@pytest.mark.slow
def test_who_is_not_logged_in_keeps_the_export_and_nothing_is_uploaded(record, tmp_path, service, capsys):
    service.logged_in = False
    assert called("export", f"run={record.folder}", f"to={tmp_path}/x", "formats=[safetensors]", "hub=me/digits") == 1
    said = capsys.readouterr().err
    assert "you are not logged in to the hub (Token is required, but no token found.). Log in: hf auth login" in said
    assert f"The export is in {tmp_path}/x" in said
    assert (service.created, service.uploaded) == ([], [])
    assert (tmp_path / "x" / "generator.safetensors").exists()


def test_without_the_hubs_library_nothing_is_begun(record, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    assert called("export", f"run={record.folder}", f"to={tmp_path}/x", "hub=me/digits") == 1
    assert "pip install 'saddlepoint[hub]'" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
    assert hub.check_repository_name("me/digits") == "me/digits"
