"""Exports: files that equal the original, a card with recorded facts, nothing half-written."""

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
from saddlepoint.privacy.guarantee import Guarantee, describe_privacy
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
def arguments(outputs):
    """A run whose generator takes a class and has a reference batch."""
    return run(outputs, "name=asked", *ASKED, "callback.evaluation.images_between=1280")


def called(*words):
    return main([str(override) for override in words])


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
    assert all(entry["difference"] <= agreement.TOLERANCE for entry in card["formats"].values())
    assert not (folder.parent / ".000001280").exists()
    assert [path.name for path in folder.parent.iterdir()] == ["000001280"]


def test_the_usage_examples_of_the_card_work(folder, monkeypatch):
    monkeypatch.chdir(folder)
    blocks = code_of((folder / "README.md").read_text())
    assert len(blocks) == 3
    for block in blocks:
        names: dict = {}
        exec(block, names)
        assert tuple(names["x"].shape) == (16, 1, 8, 8)
        assert abs(float(names["x"].mean())) < 1


@pytest.mark.slow  # the files of such a generator are tried without a run in tests/export
def test_a_generator_that_is_asked_for_a_class_and_has_a_reference_batch_is_exported_too(
    arguments, tmp_path, monkeypatch
):
    words = ["allow_target=[conditional]", "formats=[safetensors]"]
    assert called("export", f"run={arguments.folder}", f"to={tmp_path}/x", *words) == 0
    game = load_allowed(arguments.folder)
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
def test_another_checkpoint_and_raw_weights_give_other_generators(record, folder, tmp_path):
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


def test_the_card_has_only_recorded_facts(record, folder, checkout):
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


def test_the_card_of_a_private_run_has_its_guarantee_and_that_of_another_does_not(record, folder, tmp_path):
    assert "## Privacy" not in (folder / "README.md").read_text()
    shutil.copytree(record.folder, tmp_path / "name" / "seed0")
    facts = Guarantee(images=60_000, batch=512, clip=1.0, noise=1.0, delta=1e-5).facts(100)
    Run(tmp_path / "name" / "seed0").update_summary(privacy=facts)
    to = tmp_path / "private"
    assert called("export", f"run={tmp_path / 'name' / 'seed0'}", f"to={to}", "formats=[safetensors]") == 0
    page = (to / "README.md").read_text()
    assert f"\n## Privacy\n\n{describe_privacy(facts)}.\n" in page


def test_the_cards_command_trains_the_same_run_again(folder, record):
    from saddlepoint.config.compose import compose
    from saddlepoint.config.identity import compute_identity
    from saddlepoint.experiment.run_config import load_run_config

    program, train, *words = json.loads((folder / "card.json").read_text())["command"]
    assert (program, train) == ("saddlepoint", "train")
    assert compute_identity(compose(words)) == compute_identity(load_run_config(record))
    assert {"images=1280", "seed=0"} <= set(words)


def test_overrides_of_measuring_do_not_change_the_card(record, folder, tmp_path):
    words = [f"outputs={tmp_path}/o", f"cache={tmp_path}/c", "device=cpu", "evaluation.n=100", "threads=1"]
    assert called("export", f"run={record.folder}", f"to={tmp_path}/x", "formats=[safetensors]", *words) == 0
    for file in ("training.yaml", "config.yaml"):
        assert (tmp_path / "x" / file).read_text() == (folder / file).read_text().replace("apache-2.0", "null")
    cards = [json.loads((location / "card.json").read_text()) for location in (tmp_path / "x", folder)]
    assert cards[0]["command"] == cards[1]["command"]


def test_a_memorisation_reading_is_shown_only_for_its_weights(record, tmp_path):
    from saddlepoint.experiment.run_config import load_run_config
    from saddlepoint.export.card_facts import GeneratorVersion, card_facts

    record_copy = Run(shutil.copytree(record.folder, tmp_path / "plain" / "seed0"))

    def message(weights):
        return card_facts(record_copy, load_run_config(record_copy), GeneratorVersion("last", 1280, weights))[
            "memorisation"
        ]

    record_copy.append("memorisation.jsonl", {"images": 1280, "n": 1})  # of older code, which did not record whose
    assert (message("averaged"), message("raw")) == (None, None)
    record_copy.append("memorisation.jsonl", {"images": 1280, "weights": "averaged", "n": 2})
    record_copy.append("memorisation.jsonl", {"images": 1280, "weights": "raw", "n": 3})
    assert (message("averaged")["n"], message("raw")["n"]) == (2, 3)


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
def test_a_config_is_formatted_as_overrides_that_compose_it(words):
    from saddlepoint.config.compose import compose
    from saddlepoint.config.identity import compute_identity
    from saddlepoint.export.train_command import to_command_line

    config = compose(words)
    message = to_command_line(config)
    assert message is not None
    assert compute_identity(compose(message)) == compute_identity(config)
    assert len(message) <= len(words) + 4


def test_seeds_beside_it_are_counted_with_mean_and_spread(outputs, record, tmp_path):
    other = Run(shutil.copytree(record.folder, outputs / "plain" / "seed1"))
    other.config.write_text(other.config.read_text().replace("seed: 0\n", "seed: 1\n", 1))
    final = other.summary["final"]
    final["fid_digits_900_train"]["value"] += 3
    other.update_summary(final=final)
    assert called("export", f"run={record.folder}", f"to={tmp_path}/x", "formats=[safetensors]") == 0
    message = json.loads((tmp_path / "x" / "card.json").read_text())["seeds"]["fid_digits_900_train"]
    values = [r.summary["final"]["fid_digits_900_train"]["value"] for r in (record, other)]
    assert message["seeds"] == [0, 1]
    assert message["mean"] == pytest.approx(sum(values) / 2)
    assert message["std"] == pytest.approx(abs(values[0] - values[1]) / 2**0.5)


def test_a_recipe_of_which_a_seed_failed_has_no_mean_on_the_card_and_the_seed_is_named(outputs, record, tmp_path):
    for seed, status in ((1, "finished"), (2, "diverged")):
        other = Run(shutil.copytree(record.folder, outputs / "plain" / f"seed{seed}", dirs_exist_ok=True))
        other.config.write_text(other.config.read_text().replace("seed: 0\n", f"seed: {seed}\n", 1))
        other.update_summary(status=status)
    assert called("export", f"run={record.folder}", f"to={tmp_path}/x", "formats=[safetensors]") == 0
    message = json.loads((tmp_path / "x" / "card.json").read_text())["seeds"]["fid_digits_900_train"]
    assert (message["seeds"], message["failed"], message["mean"], message["std"]) == ([0, 1], [2], None, None)
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
    """A run whose generator cannot be written as ONNX."""
    words = ["architecture.generator._target_=conditional.Waves", "allow_target=[conditional]", "metric=[]"]
    return run(outputs, "name=waves", "images=128", *words)


def test_the_advice_names_only_the_formats_that_were_written(waves, tmp_path, capsys):
    words = [f"run={waves.folder}", "allow_target=[conditional]"]
    for formats, printed in ("onnx,program", "uses; formats=[program] works\n"), ("onnx", "(Bessel) uses\n"):
        assert called("export", *words, f"to={tmp_path}/{len(formats)}", f"formats=[{formats}]") == 1
        assert capsys.readouterr().err.count(printed) == 1


@pytest.mark.slow  # the message is tried without a run in tests/export
def test_a_failed_onnx_export_names_its_operator_and_other_formats_are_written(waves, tmp_path, capsys):
    capsys.readouterr()
    assert called("export", f"run={waves.folder}", f"to={tmp_path}/x", "allow_target=[conditional]") == 1
    printed = capsys.readouterr().err
    reason = "onnx: NOT written: ONNX has no operator bessel_j0, which generator.between (Bessel) uses"
    assert reason in printed.replace("\n", " ")
    assert "formats=[safetensors,program] works" in printed
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


def test_nothing_is_written_if_no_format_can_be(record, tmp_path, monkeypatch, capsys):
    from saddlepoint.export import agreement
    from saddlepoint.export.format import safetensors

    monkeypatch.setattr(safetensors, "load_weights", lambda network, path: network)  # as if the weights were lost
    assert agreement.TOLERANCE == 1e-4
    assert called("export", f"run={record.folder}", "formats=[safetensors]", f"to={tmp_path}/y") == 1
    assert "nothing was written: safetensors: it differs" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("words", "printed"),
    [
        (["formats=[onxx]"], "no such format. Did you mean onnx?"),
        (["formats=[]"], "name at least one"),
        (["at=best2"], "at=best2: it is last, best, previous"),
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
def test_bad_overrides_give_one_line(record, tmp_path, words, printed, capsys):
    assert called("export", f"run={record.folder}", f"to={tmp_path}/x", *words) == 1
    message = capsys.readouterr().err
    assert printed in message
    assert "Traceback" not in message
    assert not list(tmp_path.iterdir())


def test_a_folder_with_files_is_not_changed_and_a_run_without_checkpoint_is_named(record, tmp_path, capsys):
    (tmp_path / "mine").write_text("")
    assert called("export", f"run={record.folder}", f"to={tmp_path}") == 1
    assert "it exists already" in capsys.readouterr().err
    bare = tmp_path / "seed0"
    bare.mkdir()
    (bare / "config.yaml").write_text((record.folder / "config.yaml").read_text())
    assert called("export", f"run={bare}") == 1
    assert "no last checkpoint; there: none" in capsys.readouterr().err


def test_the_working_directory_is_refused_as_a_new_folder(record, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert called("export", f"run={record.folder}", "to=.") == 1
    assert "to=. must be the name of a new folder, such as to=generator" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


# -------------------------------------------------------------------------------------------------------------- the hub


@pytest.fixture
def service(monkeypatch):
    """A fake huggingface_hub that records its calls."""
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
def test_a_push_uploads_every_file_of_the_folder(record, tmp_path, service, capsys):
    assert called("export", f"run={record.folder}", f"to={tmp_path}/x", "formats=[safetensors]", "hub=me/digits") == 0
    files = ["README.md", "card.json", "config.yaml", "generator.safetensors", "samples.png", "training.yaml"]
    assert service.created == ["me/digits"]
    assert service.uploaded == [("me/digits", files)]
    assert "pushed: https://huggingface.co/me/digits" in capsys.readouterr().err


def test_a_push_needs_a_login(folder, service):
    service.logged_in = False
    with pytest.raises(Mistake, match=r"you are not logged in to the hub .*no token found\.\)\. Log in: hf auth login"):
        hub.push(folder, "me/digits")
    assert (service.created, service.uploaded) == ([], [])
    service.logged_in = True
    assert hub.push(folder, "me/digits") == "https://huggingface.co/me/digits"
    assert service.uploaded == [("me/digits", sorted(path.name for path in folder.iterdir()))]


@pytest.mark.slow
def test_without_a_login_the_export_is_kept_and_nothing_uploaded(record, tmp_path, service, capsys):
    service.logged_in = False
    assert called("export", f"run={record.folder}", f"to={tmp_path}/x", "formats=[safetensors]", "hub=me/digits") == 1
    printed = capsys.readouterr().err
    assert "you are not logged in to the hub (Token is required, but no token found.). Log in: hf auth login" in printed
    assert f"The export is in {tmp_path}/x" in printed
    assert (service.created, service.uploaded) == ([], [])
    assert (tmp_path / "x" / "generator.safetensors").exists()


def test_without_the_hub_library_nothing_is_started(record, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    assert called("export", f"run={record.folder}", f"to={tmp_path}/x", "hub=me/digits") == 1
    assert "pip install 'saddlepoint[hub]'" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
    assert hub.check_repository_name("me/digits") == "me/digits"
