"""Generators with conditions are exported, imported and measured like the run; internal noise is refused."""

from __future__ import annotations

import json
import re
import shutil

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import yaml
from runs import run

import saddlepoint
from saddlepoint.cli import main
from saddlepoint.error import Mistake
from saddlepoint.experiment.build import build_game, load_data
from saddlepoint.experiment.restore import restore_checkpoint
from saddlepoint.experiment.run_config import load_run_config
from saddlepoint.run.folder import Run

OWN = "allow_target=[conditional]"
FEW = ["images=64", "batch=64", "metric=[]", "callback.grid.images_between=64", OWN]
PARTS = "prior={_target_: saddlepoint.prior.prior.Prior, z: {_target_: saddlepoint.prior.normal.Normal, dim: 6}"
NOISE = "noise: {_target_: saddlepoint.prior.normal.Normal, dim: 8}}"
RUNS = {  # name -> its words; the inputs of what is exported, in their order; the number of samples it is compared on
    "label": (
        ["game=conditional", "architecture.generator.condition={label: 10}",
         "architecture.discriminator.condition={label: 10}"],
        {"z": (100,), "label": ()}, 1000,
    ),
    "inpainting": (
        ["experiment=inpainting_digits", "game.draws.hole.mask.place=random"],
        {"z": (100,), "mask": (1, 8, 8), "x": (1, 8, 8)}, 450,
    ),
    "source": (
        ["data._target_=conditional.Pairs", "architecture.generator._target_=conditional.Translator",
         "+game.sides.fake.of=source", "game.conditions=split:validation"],
        {"source": (1, 8, 8)}, 450,
    ),
    "noise": (
        ["architecture.generator._target_=conditional.Styled", f"{PARTS}, {NOISE}"],
        {"z": (6,), "noise": (8,)}, 1000,
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module", params=RUNS)
def exported(outputs, request):
    """The name of a run, its record, and its export in all three formats."""
    record = run(outputs, f"name={request.param}", *RUNS[request.param][0], *FEW)
    assert called("export", f"run={record.folder}", OWN) == 0
    return request.param, record, record.folder / "export" / "000000064"


def called(*words):
    return main([str(override) for override in words])


def game_and_data(record):
    config = load_run_config(Run(record.folder), [OWN])
    data = load_data(config)
    game = build_game(config, data)
    restore_checkpoint(game, Run(record.folder))
    return game, data


def arguments(name, data, generator, n=20):
    """Latents and conditions of n samples, drawn independently of the export."""
    rows = data.batch_at("validation", torch.arange(30, 30 + n))
    given = {
        "label": {"label": torch.arange(n) % 10},
        "inpainting": {"mask": (torch.rand(n, 1, 8, 8) > 0.5).float(), "x": rows.x},
        "source": {"source": rows.extra_columns.get("source")},
        "noise": {},
    }
    return generator.latent(n, seed=3), given[name]


def test_each_format_makes_the_samples_of_the_game_under_conditions_by_name(exported):
    name, record, folder = exported
    game, data = game_and_data(record)
    generator = saddlepoint.exported(folder, allow=["conditional"])
    latent, condition = arguments(name, data, generator)
    whole = latent if latent else game.latent(20)
    expected = game(whole, condition)
    assert (generator(latent, condition) - expected).abs().max() < 1e-6
    inputs = {**latent, **condition}
    session = onnxruntime.InferenceSession(str(folder / "generator.onnx"))
    (x,) = session.run(None, {key: tensor.numpy() for key, tensor in inputs.items()})
    assert np.abs(x - expected.numpy()).max() < 1e-5
    program = torch.export.load(folder / "generator.pt2")
    assert list(program.graph_signature.user_inputs) == list(RUNS[name][1])
    with torch.no_grad():
        assert (program.module()(*(inputs[key] for key in RUNS[name][1])) - expected).abs().max() < 1e-6


def test_the_inputs_are_the_parts_of_the_latent_and_then_the_conditions(exported):
    name, _, folder = exported
    session = onnxruntime.InferenceSession(str(folder / "generator.onnx"))
    result = {one.name: tuple(one.shape[1:]) for one in session.get_inputs()}
    assert result == RUNS[name][1]
    assert list(result) == list(RUNS[name][1])
    generator = saddlepoint.exported(folder, allow=["conditional"])
    conditions = {key: 10 if key == "label" else None for key in result if key not in generator.latent(2)}
    assert generator.conditions == conditions


def test_files_are_compared_on_1000_samples_or_the_size_of_the_split(exported):
    name, _, folder = exported
    rows = RUNS[name][2]
    card = json.loads((folder / "card.json").read_text())
    assert card["checked"]["rows"] == rows == sum(card["checked"]["sizes"])
    assert card["checked"]["sizes"][0] == 1
    assert set(card["formats"]) == {"safetensors", "onnx", "program"}
    assert all(entry["difference"] <= card["checked"]["tolerance"] for entry in card["formats"].values())
    printed = f"compared with the run's generator on {rows:,} samples"
    printed += ", under the first 450 rows of validation" if rows == 450 else ", in batches"
    assert printed in (folder / "README.md").read_text()


def test_the_usage_examples_of_the_card_work(exported, monkeypatch):
    _, _, folder = exported
    monkeypatch.chdir(folder)
    blocks = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL)
    assert len(blocks) == 3
    for block in blocks:
        names: dict = {}
        exec(block, names)
        assert tuple(names["x"].shape) == (16, 1, 8, 8)


def test_an_export_draws_what_its_run_is_evaluated_on(exported):
    _, record, folder = exported
    game, data = game_and_data(record)
    sample = saddlepoint.exported(folder, allow=["conditional"]).sampler(game.seed, data=data)
    assert (sample(100)[0] - game.sample(100)).abs().max() < 1e-6


def test_the_description_has_only_what_samples_need(exported):
    name, _, folder = exported
    made = yaml.safe_load((folder / "config.yaml").read_text())
    assert list(made["architecture"]) == ["generator"]
    assert ("sides" in made) == (name in ("inpainting", "source"))
    assert made["classes"] == ({"label": 10} if name == "label" else None)
    if name == "inpainting":
        assert set(made["makers"]) == {"hide", "paste"}
        assert set(made["sides"]) == {"fake", "known"}
        assert set(made["draws"]) == {"hole"}
        assert "discriminator" not in (folder / "config.yaml").read_text()
    if name == "source":
        assert made["prior"] == {}


WRONG = {
    "missing": (lambda latent, label: ({**latent}, {}), "samples need the conditions label: label is missing"),
    "misspelt": (lambda latent, label: (latent, {"lable": label}), "Did you mean label"),
    "no mapping": (lambda latent, label: (latent, label), "a condition is a mapping of names to tensors, {label: ...}"),
    "another shape": (lambda latent, label: (latent, {"label": label[:, None]}), "condition label is int64 [N]"),
    "another type": (lambda latent, label: (latent, {"label": label.float()}), "and this is float32 [16]"),
    "too few rows": (lambda latent, label: (latent, {"label": label[:9]}), "differ: z 16, label 9"),
    "a class that there is not": (
        lambda latent, label: (latent, {"label": label + 5}),
        "is a class from 0 to 9, and one of these is 10",
    ),
    "no such part": (lambda latent, label: ({"zz": latent["z"]}, {"label": label}), "Did you mean z"),
}


@pytest.mark.parametrize("case", WRONG)
@pytest.mark.parametrize("exported", ["label"], indirect=True)
def test_invalid_inputs_give_one_line(exported, case):
    change, printed = WRONG[case]
    generator = saddlepoint.exported(exported[2])
    with pytest.raises(Mistake, match=re.escape(printed)) as message:
        generator(*change(generator.latent(16), torch.arange(16) % 10))
    assert "\n" not in str(message.value)


@pytest.mark.parametrize("exported", ["label"], indirect=True)
def test_an_export_of_an_earlier_version_is_still_read_in_each_format(exported, tmp_path):
    folder = shutil.copytree(exported[2], tmp_path / "x")
    made = yaml.safe_load((folder / "config.yaml").read_text())
    (folder / "config.yaml").write_text(yaml.safe_dump({**made, "classes": 10}, sort_keys=False))
    model = onnx.load(folder / "generator.onnx")
    for one in [*model.graph.input, *(name for node in model.graph.node for name in [node])]:
        if hasattr(one, "input"):
            one.input[:] = ["y" if name == "label" else name for name in one.input]
        elif one.name == "label":
            one.name = "y"
    onnx.save(model, folder / "generator.onnx")
    now = saddlepoint.exported(exported[2])
    latent, condition = now.latent(20), {"label": torch.arange(20) % 10}
    for file in ("generator.safetensors", "generator.onnx", "generator.pt2"):
        then = saddlepoint.exported(folder / file, trust=True)
        assert then.conditions == {"label": 10}
        assert (then(latent, condition) - now(latent, condition)).abs().max() < 1e-5
        assert torch.equal(then.sampler(0)(30)[1], now.sampler(0)(30)[1])


def test_a_network_that_depends_on_images_is_exported_at_its_state(outputs, tmp_path):
    words = ["architecture=growing", "architecture.discriminator.width=4", "architecture.generator.width=4"]
    words += ["architecture.discriminator.period=64", "architecture.discriminator.fade=64", "images=96", "batch=32"]
    words += ["name=growing", "metric=[]", "logger=none", f"outputs={outputs}"]
    record = saddlepoint.train(saddlepoint.compose(words))
    assert called("export", f"run={record.folder}", OWN, f"to={tmp_path}/x", "formats=[safetensors,program]") == 0
    assert yaml.safe_load((tmp_path / "x" / "config.yaml").read_text())["images"] == 96
    game, _ = game_and_data(record)
    generator = saddlepoint.exported(tmp_path / "x")
    latent = generator.latent(20)
    assert (generator(latent) - game(latent)).abs().max() < 1e-6


# ------------------------------------------------------------------------------------------------- measured again


@pytest.mark.parametrize("exported", ["label", "source"], indirect=True)
def test_an_import_is_measured_under_labels_or_rows_of_the_split_as_the_run_is(exported, tmp_path, outputs):
    name, record, folder = exported
    words = [OWN, "evaluation.second_extractor=null", "metric=[frechet_distance]", "evaluation.n=200"]
    assert called("evaluate", f"run={record.folder}", *words) == 0
    more = ["data._target_=conditional.Pairs"] if name == "source" else []
    assert called("import", f"from={folder}", "name=theirs", f"outputs={tmp_path}", "data=digits", *more, *words) == 0
    user_module = json.loads((tmp_path / "theirs" / "seed0" / "summary.json").read_text())["final"]
    (row,) = record.events("evaluations.jsonl")[0][-1:]
    assert user_module == row["scores"]


def test_text_is_exported_as_probabilities_without_a_range(outputs, tmp_path):
    (tmp_path / "lines.txt").write_text("abc\nabcd\nab\nca\n" * 30, encoding="utf-8")
    words = ["data=text_lines", f"data.folder={tmp_path}/lines.txt", "architecture=sequence", "images=64", "batch=32"]
    words += [f"architecture.{player}.kernel=3" for player in ("generator", "discriminator")]
    record = saddlepoint.train(
        saddlepoint.compose([*words, "metric=[]", "logger=none", f"outputs={outputs}", "name=text"])
    )
    assert called("export", f"run={record.folder}", f"to={tmp_path}/x", "formats=[safetensors,program]") == 0
    made = yaml.safe_load((tmp_path / "x" / "config.yaml").read_text())
    generator = saddlepoint.exported(tmp_path / "x")
    x = generator(generator.latent(5))
    assert (made["range"], tuple(x.shape[1:])) == (None, tuple(made["data"]["shape"]))
    assert torch.allclose(x.sum(-1), torch.ones(5, x.shape[1]))
    front = yaml.safe_load((tmp_path / "x" / "README.md").read_text().split("---")[1])
    assert "tokens" in front["tags"]
    assert "pipeline_tag" not in front


@pytest.mark.parametrize("exported", ["source"], indirect=True)
def test_a_split_without_the_column_is_refused_with_those_that_it_has(exported, tmp_path, capsys):
    _, _, folder = exported
    words = [f"from={folder}", "name=theirs", f"outputs={tmp_path}", "data=digits", OWN]
    assert called("import", *words) == 1
    message = capsys.readouterr().err
    assert "condition source is the column source, which this split lacks." in message
    assert "Traceback" not in message
    assert not (tmp_path / "theirs" / "seed0").exists()


# ------------------------------------------------------------------------------------------------------- refused


NOISY = {
    "noise drawn inside": (
        ["architecture.generator._target_=conditional.Noisy"],
        "generator.between.1 (Noise) makes different samples from the same input",
    ),
    "dropout kept on": (
        ["architecture.generator._target_=conditional.Dropping", "game.dropout=true"],
        "generator.between (Dropout) is on while samples are made (game.dropout=true)",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", NOISY)
def test_a_generator_with_internal_noise_is_refused_with_its_layer(outputs, case, capsys):
    words, printed = NOISY[case]
    record = run(outputs, f"name={case.replace(' ', '_')}", *words, *FEW)
    capsys.readouterr()
    assert called("export", f"run={record.folder}", OWN) == 1
    message = capsys.readouterr().err.replace("\n", " ")
    assert printed in message
    assert "a part of the latent (prior.<part>) or a named draw (game.draws.<name>)" in message
    assert not (record.folder / "export").exists()
    if case == "dropout kept on":
        assert called("export", f"run={record.folder}", OWN, "game.dropout=false", "formats=[safetensors]") == 0


def test_dropout_that_is_off_during_sampling_is_exported(outputs):
    record = run(outputs, "name=off", "architecture.generator._target_=conditional.Dropping", *FEW)
    assert called("export", f"run={record.folder}", OWN, "formats=[safetensors]") == 0


def test_conditions_without_a_source_are_refused_and_can_be_set(outputs, tmp_path, capsys):
    record = run(outputs, "name=nowhere", *RUNS["label"][0], *FEW)
    config = record.config.read_text()
    record.config.write_text(config.replace("conditions: labels", "conditions: none"))
    words = [f"run={record.folder}", OWN, "formats=[safetensors]", f"to={tmp_path}/x"]
    assert called("export", *words) == 1
    message = capsys.readouterr().err.replace("\n", " ")
    assert "samples need the condition label (column y), and there is none" in message
    assert "game.conditions=labels" in message
    assert called("export", *words, "game.conditions=labels") == 0
