"""Imported generators and samples are evaluated as our own runs are, and their origin is recorded."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
import yaml
from PIL import Image
from runs import run
from torch import nn

import saddlepoint
from saddlepoint.cli import main
from saddlepoint.comparison.arms.record import load_record
from saddlepoint.error import Mistake
from saddlepoint.run.folder import Run

pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.*is deprecated")
PROTOCOL = ["data=digits", "evaluation.second_extractor=null"]
RANGES = {"a": (-1, 1, [-1, 1]), "b": (0, 1, [0, 1]), "c": (0, 255, "uint8")}
PIXELS = {"prior": {"z": {"distribution": "normal", "dim": 6}}, "data": {"shape": [1, 8, 8]}, "range": [-1, 1]}


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def record(outputs):
    fast = [f"optimizer.{player}.lr=1e-3" for player in ("generator", "discriminator")]
    return run(outputs, *fast, "name=ours", "images=6400", "callback.evaluation.images_between=6400", *PROTOCOL)


@pytest.fixture(scope="module")
def folder(record, tmp_path_factory):
    to = tmp_path_factory.mktemp("exports") / "ours"
    assert run_command("export", f"run={record.folder}", f"to={to}", "formats=[safetensors]") == 0
    return to


@pytest.fixture
def import_into_run(outputs, request):
    """Return a function that imports a source under the name of the test, and returns the run folder."""

    def import_source(source, *words, seed=0):
        name = request.node.name.partition("[")[0][:40]
        words = [f"from={source}", f"name={name}", f"seed={seed}", f"outputs={outputs}", *PROTOCOL, *words]
        assert run_command("import", *words) == 0
        return outputs / name / f"seed{seed}"

    return import_source


def run_command(*words):
    return main([str(word) for word in words])


def summary(folder):
    return json.loads((folder / "summary.json").read_text())


def describe(folder: Path, **changes) -> Path:
    """Write a generator.yaml; return its folder."""
    folder.mkdir(parents=True, exist_ok=True)
    plain = {key: value for key, value in {**PIXELS, **changes}.items() if value != "absent"}
    (folder / "generator.yaml").write_text(yaml.safe_dump(plain))
    return folder


class Maker(nn.Module):
    """A generator of pixels between `low` and `high` from z."""

    def __init__(self, low: float = -1.0, high: float = 1.0, side: int = 8) -> None:
        super().__init__()
        self.last, self.low, self.high, self.side = nn.Linear(6, side * side), low, high, side

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        x = torch.sigmoid(self.last(z)).view(-1, 1, self.side, self.side)
        return self.low + (self.high - self.low) * x


def script(folder: Path, module: nn.Module) -> Path:
    torch.jit.script(module.eval()).save(str(folder / "generator.pt"))
    return folder / "generator.pt"


def maker(**settings) -> Maker:
    torch.manual_seed(0)
    return Maker(**settings)


# --------------------------------------------------------------------------------------------------------- our exports


def test_an_imported_export_of_a_run_has_the_scores_of_the_run(record, folder, import_into_run):
    imported = summary(import_into_run(folder / "generator.safetensors"))
    assert imported["final"] == record.summary["final"]
    assert (imported["status"], imported["origin"], imported["images"]) == ("finished", "imported", None)


def test_an_export_with_reestimated_batch_norm_statistics_has_the_contract_of_the_run(
    outputs, import_into_run, tmp_path
):
    norm = "architecture.generator.norm={_target_: torch.nn.BatchNorm1d, _partial_: true}"
    statistics = "game.players.generator.average.statistics=reestimated"
    overrides = [norm, statistics, "metric=[frechet_distance]", "callback.evaluation.images_between=1280"]
    record = run(outputs, "name=reestimated", *overrides, *PROTOCOL)
    assert record.summary["final"]["fid_digits_900_train"]["contract"]["batch_norm"] == "reestimated"
    assert run_command("export", f"run={record.folder}", f"to={tmp_path}/x", "formats=[safetensors]") == 0
    imported = summary(import_into_run(tmp_path / "x" / "generator.safetensors", "metric=[frechet_distance]"))
    (score,), (expected,) = imported["final"].values(), record.summary["final"].values()
    assert score["contract"] == expected["contract"]
    assert score["value"] == pytest.approx(expected["value"])


@pytest.mark.slow
def test_a_trusted_program_is_evaluated(record, import_into_run, tmp_path):
    assert run_command("export", f"run={record.folder}", f"to={tmp_path}/x", "formats=[program]") == 0
    imported = summary(import_into_run(tmp_path / "x" / "generator.pt2", "trust=true"))
    for key, score in record.summary["final"].items():
        assert imported["final"][key]["value"] == pytest.approx(score["value"], rel=1e-2)


def test_compare_reads_imports_and_runs_together(record, folder, import_into_run, outputs, tmp_path):
    imported = import_into_run(folder)
    words = [f"runs=[{imported.parent},{record.folder.parent}]", "logger.mode=disabled", f"to={tmp_path}/c"]
    assert run_command("compare", *words) == 0
    rows = (tmp_path / "c" / "runs.csv").read_text().splitlines()
    value = record.summary["final"]["fid_digits_900_train"]["value"]
    head = rows[0].split(",")
    finals = {row.split(",")[0]: row.split(",")[head.index("final")] for row in rows[1:]}
    assert set(finals) == {"imported=none", f"imported={imported.parent.name}"}
    assert [float(text) for text in finals.values()] == pytest.approx([value, value])
    assert load_record(imported).is_imported
    assert not load_record(record.folder).is_imported


def test_the_arms_of_our_own_runs_are_still_defined_by_their_differences():
    from saddlepoint.comparison.arms.grouping import unnamed_differences, varying_keys
    from saddlepoint.comparison.arms.record import Config, Record
    from saddlepoint.config.training_keys import dotted_items, training_keys

    def made(**whole):
        return Record(Path("x"), 0, Config(whole, dict(dotted_items(training_keys(whole)))), {}, "finished")

    hinge = made(objective={"a": 1}, batch=64, choice={"objective": "hinge", "architecture": "mlp"})
    minimax = made(objective={"a": 2}, batch=64, choice={"objective": "minimax", "architecture": "mlp"})
    theirs = made(imported="theirs", choice={"imported": "theirs"})
    assert varying_keys([hinge, theirs, minimax]) == ["objective", "imported"]
    assert unnamed_differences([hinge, minimax, theirs], ["objective", "imported"]) == []


def test_the_same_import_by_another_protocol_is_added_to_its_run_folder(folder, import_into_run):
    run_folder = import_into_run(folder)
    before = summary(run_folder)
    assert import_into_run(folder, "evaluation.split=test", "metric=[frechet_distance]") == run_folder
    assert summary(run_folder) == before
    assert {"fid_digits_900_train", "fid_digits_1347_test"} <= set(load_record(run_folder).final_scores)


def test_an_import_is_recorded_and_has_no_game(folder, import_into_run, capsys):
    run_folder = import_into_run(folder, "source=an e-mail", "licence=cc-by-4.0")
    recorded = json.loads((run_folder / "provenance.json").read_text())["imported"]
    digest = summary(run_folder)["imported"]["sha256"]
    assert digest == __import__("hashlib").sha256((folder / "generator.safetensors").read_bytes()).hexdigest()
    assert (recorded["kind"], recorded["weights"], recorded["weights_stated"]) == ("generator", "averaged", True)
    assert (recorded["source"], recorded["licence"]) == ("an e-mail", "cc-by-4.0")
    assert Image.open(run_folder / "samples" / "000000000.png").width > 300
    for command in ("evaluate", "sample", "export"):
        assert run_command(command, f"run={run_folder}") == 1
        assert "was imported and has no game" in capsys.readouterr().err


# -------------------------------------------------------------------------------------- external generators and samples


@pytest.mark.slow
def test_a_torchscript_of_each_range_has_scores(import_into_run, tmp_path):
    for name, (low, high, bounds) in RANGES.items():
        file = script(describe(tmp_path / name, range=bounds), maker(low=low, high=high))
        imported = summary(import_into_run(file, "trust=true", "metric=[frechet_distance]", seed=ord(name)))
        assert 0 < imported["final"]["fid_digits_900_train"]["value"] < 500


def test_a_torchscript_needs_trust_and_its_range_is_scaled_to_ours(tmp_path, capsys):
    for name, (low, high, bounds) in RANGES.items():
        script(describe(tmp_path / name, range=bounds), maker(low=low, high=high))
    assert run_command("import", f"from={tmp_path}/a", "name=distrusted", f"outputs={tmp_path}", *PROTOCOL) == 1
    assert "is a program: it can do anything" in capsys.readouterr().err
    generators = [saddlepoint.exported(tmp_path / name, trust=True) for name in "abc"]
    latent = generators[0].latent(20)
    assert all((other(latent) - generators[0](latent)).abs().max() < 1e-5 for other in generators)


def test_an_external_onnx_file_gets_its_inputs_as_positions(import_into_run, tmp_path):
    onnx = pytest.importorskip("onnx")
    helper, numpy_helper = onnx.helper, onnx.numpy_helper
    weight = np.random.default_rng(0).standard_normal((6, 64)).astype(np.float32)
    size = np.array([-1, 1, 8, 8], dtype=np.int64)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["noise", "w"], ["h"]), helper.make_node("Tanh", ["h"], ["t"]),
         helper.make_node("Reshape", ["t", "size"], ["image"])],
        "g", [helper.make_tensor_value_info("noise", 1, ["n", 6])], [helper.make_tensor_value_info("image", 1, None)],
        [numpy_helper.from_array(weight, "w"), numpy_helper.from_array(size, "size")],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(model, str(describe(tmp_path / "o") / "g.onnx"))
    generator = saddlepoint.exported(tmp_path / "o")
    z = generator.latent(4)
    assert torch.allclose(generator(z), torch.tanh(z["z"] @ torch.from_numpy(weight)).view(4, 1, 8, 8), atol=1e-6)


def test_latent_shapes_and_classes_are_passed_to_the_network_as_described(tmp_path):
    class Spatial(nn.Module):
        def forward(self, z: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            assert z.shape[1:] == (4, 1, 1)
            return torch.tanh(z.sum(1, keepdim=True).expand(-1, 1, 8, 8) + y.view(-1, 1, 1, 1).float())

    prior = {"z": {"distribution": "uniform", "shape": [4, 1, 1], "low": 0.0, "high": 1.0}}
    script(describe(tmp_path / "s", prior=prior, classes=3), Spatial())
    generator = saddlepoint.exported(tmp_path / "s", trust=True)
    z = generator.latent(5)["z"]
    assert z.shape == (5, 4)
    assert 0 <= z.min() <= z.max() < 1
    y = torch.tensor([0, 1, 2, 0, 1])
    assert torch.allclose(generator({"z": z}, {"label": y})[:, 0, 0, 0], torch.tanh(z.sum(1) + y))
    assert set(generator.sampler(0)(60)[1].tolist()) == {0, 1, 2}


def test_a_modality_that_the_shape_does_not_imply_may_be_unbounded(tmp_path):
    script(describe(tmp_path / "s", range=None, modality="spectrum"), maker(low=-30.0, high=40.0))
    generator = saddlepoint.exported(tmp_path / "s", trust=True)
    assert generator(generator.latent(50)).max() > 3


class Positions(nn.Module):
    """Takes z and an image as positional arguments."""

    def forward(self, z: torch.Tensor, source: torch.Tensor) -> torch.Tensor:
        return torch.tanh(source + z.sum(1).view(-1, 1, 1, 1))


class ByName(nn.Module):
    """Takes mappings of latents and of conditions."""

    def forward(self, latent: dict[str, torch.Tensor], condition: dict[str, torch.Tensor]) -> torch.Tensor:
        shift = latent["z"].sum(1) + condition["label"].float()
        return torch.tanh(condition["source"] + shift.view(-1, 1, 1, 1))


class ByClass(nn.Module):
    """Takes a mapping of latents and the class itself, as networks of the first edition did."""

    def forward(self, latent: dict[str, torch.Tensor], y: torch.Tensor) -> torch.Tensor:
        shift = latent["z"].sum(1) + y.float()
        return torch.tanh(shift.view(-1, 1, 1, 1).expand(-1, 1, 8, 8))


IMAGES = {"source": {"shape": [1, 8, 8]}}
SIGNATURES = {  # module, its description, its conditions
    "parts": (Positions, {"inputs": IMAGES}, {"source": None}),
    "mapping": (ByName, {"inputs": IMAGES, "classes": {"label": 4}, "call": "mapping"}, {"label": 4, "source": None}),
    "the class itself": (ByClass, {"classes": 4, "call": "mapping"}, {"label": 4}),
}


@pytest.mark.parametrize("name", SIGNATURES)
def test_a_torchscript_gets_its_conditions_as_its_description_defines(name, tmp_path):
    kind, changes, conditions = SIGNATURES[name]
    script(describe(tmp_path / "s", **changes), kind())
    generator = saddlepoint.exported(tmp_path / "s", trust=True)
    assert generator.conditions == conditions
    latent = generator.latent(5)
    inputs = {"label": torch.arange(5) % 4, "source": torch.rand(5, 1, 8, 8)}
    inputs = {key: inputs[key] for key in conditions}
    shift = latent["z"].sum(1) + inputs.get("label", torch.zeros(5))
    expected = torch.tanh(inputs.get("source", torch.zeros(1, 1, 8, 8)) + shift.view(-1, 1, 1, 1))
    assert torch.allclose(generator(latent, dict(reversed(inputs.items()))), expected)
    with pytest.raises(Mistake, match=r"\b(label|source)\b"):
        generator(latent)


def test_an_external_image_to_image_network_has_no_latent(tmp_path):
    class Negative(nn.Module):
        def forward(self, source: torch.Tensor) -> torch.Tensor:
            return -source

    script(describe(tmp_path / "s", prior={}, inputs=IMAGES, conditions="split:test"), Negative())
    generator = saddlepoint.exported(tmp_path / "s", trust=True)
    source = torch.rand(3, 1, 8, 8)
    assert generator.latent(3) == {}
    assert torch.equal(generator({}, {"source": source}), -source)
    with pytest.raises(Mistake, match=r"condition source is float32 \[N, 1, 8, 8\], and this is float32 \[3, 8, 8\]"):
        generator({}, {"source": source[:, 0]})
    with pytest.raises(Mistake, match="there are no data to take rows from"):
        generator.sampler(0)(3)


def test_imported_samples_have_the_same_contract(record, import_into_run, tmp_path, capsys):
    words = [f"run={record.folder}", "n=1000", f"to={tmp_path}/x.npz"]
    assert run_command("sample", *words) == 0
    imported = summary(import_into_run(tmp_path / "x.npz"))
    expected = record.summary["final"]
    assert "the first 900 are evaluated" in capsys.readouterr().err
    assert {key: score["contract"] for key, score in imported["final"].items()} == {
        k: s["contract"] for k, s in expected.items()
    }
    array = np.load(tmp_path / "x.npz")["arr_0"][:900]
    to = tmp_path / "pictures"
    to.mkdir()
    for i, image in enumerate(array):
        Image.fromarray(image[..., 0]).save(to / f"{i:04d}.png")
    again = summary(import_into_run(to, seed=1))["final"]
    for key, score in imported["final"].items():
        assert again[key]["value"] == pytest.approx(score["value"], rel=1e-6)
    assert imported["imported"]["weights_stated"] is False


def test_fewer_samples_than_in_the_protocol_have_a_contract_of_their_own(import_into_run, tmp_path, capsys):
    np.savez(tmp_path / "few.npz", arr_0=np.random.default_rng(0).integers(0, 256, (60, 8, 8, 1), dtype=np.uint8))
    imported = summary(import_into_run(tmp_path / "few.npz", "metric=[frechet_distance]"))
    assert list(imported["final"]) == ["fid_digits_60_train"]
    assert "a contract of their own" in capsys.readouterr().err


# -------------------------------------------------------------------------------------------------------------- errors


def weights(folder: Path) -> Path:
    safetensors.torch.save_file({"a": torch.zeros(3)}, folder / "generator.safetensors")
    return folder


def ours(**changes):
    node = {"_target_": "saddlepoint.architecture.mlp.Generator", "latent": 6, "shape": [1, 8, 8], "widths": [8]}
    return {"generator": {**node, **changes}}


def latent(**node):
    return {"z": {"distribution": "normal", **(node or {"dim": 6})}}


CASES = {
    "a range": (lambda f: script(describe(f, range=[0, 1]), maker()), "has range [0, 1]"),
    "another shape than described": (lambda f: script(describe(f), maker(side=7)), "makes [1, 7, 7]"),
    "a key that is missing": (lambda f: script(describe(f, range="absent"), maker()), "lacks range"),
    "a shape that is missing": (lambda f: script(describe(f, data={}), maker()), "lacks data.shape"),
    "an unknown key": (lambda f: script(describe(f, rnge=[0, 1]), maker()), "unknown key rnge"),
    "a range that is a mapping": (lambda f: weights(describe(f, range={"low": 0, "high": 1})), "range={"),
    "an architecture that is a list": (lambda f: weights(describe(f, architecture=[1])), "architecture=[1] must be"),
    "an architecture that is a name": (lambda f: weights(describe(f, architecture={"generator": "mlp"})), "_target_"),
    "an architecture without a target": (lambda f: weights(describe(f, architecture=ours(_target_=None))), "_target_"),
    "a shape of nothing": (lambda f: weights(describe(f, prior=latent(shape=[0]))), "z.shape=[0] must be integers"),
    "a shape that is a word": (lambda f: weights(describe(f, prior=latent(shape="abc"))), "z.shape=abc must be"),
    "no dim": (lambda f: weights(describe(f, prior=latent(dim=None))), "prior.z.dim=null must be an integer"),
    "a fractional dim": (lambda f: weights(describe(f, prior=latent(dim=100.5))), "z.dim=100.5 must be an integer"),
    "an invalid dim of our class": (
        lambda f: weights(describe(f, prior={"z": {"_target_": "saddlepoint.prior.normal.Normal", "dim": 100.5}})),
        "prior.z.dim=100.5",
    ),
    "a reserved name": (lambda f: weights(describe(f, architecture=ours(), prior={"keys": latent()["z"]})), "keys"),
    "a part that draws nothing": (
        lambda f: weights(describe(f, architecture=ours(), prior={"z": {"_target_": "torch.nn.Identity"}})),
        "torch.nn.Identity draws no latents",
    ),
    "a distribution": (
        lambda f: script(describe(f, prior={"z": {"distribution": "norml", "dim": 6}}), maker()),
        "Did you mean normal",
    ),
    "another latent": (
        lambda f: script(describe(f, prior={"z": {"distribution": "normal", "dim": 5}}), maker()), "z [2, 5]",
    ),
    "no description": (lambda f: weights(f), "Put a generator.yaml next to it"),
    "weights without a class": (lambda f: weights(describe(f)), "lacks architecture.generator"),
    "another network's weights": (lambda f: weights(describe(f, architecture=ours())), "another network"),
    "no classes": (lambda f: script(describe(f, classes={"label": 0}), maker()), "classes.label=0 must be"),
    "inputs that are a list": (lambda f: script(describe(f, inputs=[1]), maker()), "must be {shape: [3, 64, 64], "),
    "an input without a shape": (lambda f: script(describe(f, inputs={"a": {}}), maker()), "inputs.a={} must be {sh"),
    "an input of another type": (
        lambda f: script(describe(f, inputs={"a": {"shape": [2], "dtype": "float23"}}), maker()), "mean float32",
    ),
    "one name for two": (
        lambda f: script(describe(f, classes={"a": 2}, inputs={"a": {"shape": [2]}}), maker()), "in both classes and",
    ),
    "conditions from an unknown source": (
        lambda f: script(describe(f, classes=3, conditions="lables"), maker()), "conditions=lables must be none",
    ),
    "conditions that cannot be drawn": (
        lambda f: script(describe(f, inputs={"a": {"shape": [2]}}), maker()), "which is not a label column",
    ),
    "a picture without a range": (lambda f: weights(describe(f, range=None)), "range=null must be [-1, 1]"),
    "a negative number of images": (lambda f: weights(describe(f, images=-1)), "images=-1 must be the number"),
    "makers without sides": (
        lambda f: weights(describe(f, architecture=ours(), makers={"paste": {"_target_": "torch.nn.Identity"}})),
        "makers needs sides",
    ),
    "another network alone": (
        lambda f: weights(describe(f, architecture={"g": ours()["generator"]})), "architecture.generator: it has g",
    ),
    "a maker that is not there": (
        lambda f: weights(describe(f, architecture=ours(), sides={"fake": {"by": ["generator", "past"]}},
                                    makers={"paste": {"_target_": "torch.nn.Identity"}})), "Did you mean paste?",
    ),
    "a side that is not there": (
        lambda f: weights(describe(f, architecture=ours(), sides={"fake": {"by": "generator"}}, samples="fakes")),
        "samples=fakes: no such side. Did you mean fake?",
    ),
    "a key that no side has": (
        lambda f: weights(describe(f, architecture=ours(), sides={"fake": {"bye": "generator"}})), "Did you mean by?",
    ),
    "sides of parts": (
        lambda f: weights(describe(f, architecture=ours(), call="parts", sides={"fake": {"by": "generator"}})),
        "call=parts: networks named in sides",
    ),
    "a class that is not a condition of samples": (
        lambda f: weights(describe(f, architecture=ours(), classes={"lable": 3},
                                    sides={"fake": {"by": "generator", "condition": {"label": "y"}}})),
        "lable: samples have label. Did you mean label?",
    ),
    "a class that is not there": (
        lambda f: weights(describe(f, architecture=ours(_target_="saddlepoint.architecture.mlp.Genrator"))),
        "Did you mean Generator",
    ),
    "a class that is not allowed": (
        lambda f: weights(describe(f, architecture=ours(_target_="conditional.Plain"))), "allow_target=[conditional]",
    ),
    "a function of the system": (
        lambda f: weights(describe(f, architecture=ours(_target_="os.system"))), "not on the list",
    ),
}  # fmt: skip


def error_of(path, **settings):
    """Return the error of a generator that cannot be loaded or called; it has one line."""
    with pytest.raises(Mistake) as error:
        saddlepoint.exported(path, trust=True, **settings).sampler(0)(2)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("case", CASES)
def test_an_invalid_description_or_file_is_reported_in_one_line(case, tmp_path):
    write, message = CASES[case]
    write(tmp_path)
    assert message in error_of(tmp_path)


@pytest.mark.parametrize("name", ["g.safetensors", "g.pt", "g.onnx", "g.pt2", "g.pkl", "g.gif"])
def test_a_file_with_the_wrong_content_is_named_and_a_pickle_is_never_read(name, tmp_path):
    describe(tmp_path, architecture=ours())
    if name == "g.pt":
        torch.save({"a": torch.zeros(3)}, tmp_path / name)
    else:
        (tmp_path / name).write_bytes(b"other content")
    message = error_of(tmp_path / name)
    assert str(tmp_path / name) in message
    assert ("pickle" in message) == (name in ("g.pt", "g.pkl"))


def test_a_generator_of_another_shape_than_the_data_is_refused_without_a_run_folder(tmp_path, capsys):
    script(describe(tmp_path / "g", data={"shape": [1, 7, 7]}), maker(side=7))
    words = [f"from={tmp_path}/g", "name=x", f"outputs={tmp_path}/o", "trust=true", *PROTOCOL]
    assert run_command("import", *words) == 1
    output = capsys.readouterr().err
    assert "and digits is [1, 8, 8]" in output
    assert "Traceback" not in output
    assert not (tmp_path / "o" / "x" / "seed0").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["name=ours", "data=digits"], "holds a run that was trained here"),
        (["name=x"], "what was it trained on?"),
        (["name=x", "data=digitz"], "Did you mean digits"),
        (["name=a/b", "data=digits"], "name=a-b"),
        (["name=x", "data=digits", "weights=best"], "weights is one of averaged, raw or null"),
        (["name=x", "data=digits", "from=[a,b]"], "from=[a,b]: from is text"),
        (["name=x", "data=digits", "licence=[a]"], "licence=[a]: licence is text or null"),
        (["name=x", "data=mnist", "from=/nowhere"], "from=/nowhere"),
        (["name=x", "data=digits", "evaluation.nn=3"], "evaluation.n"),
    ],
)
def test_invalid_arguments_are_reported_in_one_line(record, folder, outputs, words, message, capsys):
    source = [] if any(word.startswith("from=") for word in words) else [f"from={folder}"]
    assert run_command("import", *source, f"outputs={outputs}", *words) == 1
    output = capsys.readouterr().err
    assert message in output
    assert "Traceback" not in output


def test_another_file_under_a_used_name_and_seed_is_refused(tmp_path, capsys):
    (tmp_path / "theirs" / "seed0").mkdir(parents=True)
    Run(tmp_path / "theirs" / "seed0").update_summary(origin="imported", imported={"sha256": "0" * 64})
    np.savez(tmp_path / "x.npz", arr_0=np.zeros((60, 8, 8, 1), dtype=np.uint8))
    assert run_command("import", f"from={tmp_path}/x.npz", "name=theirs", f"outputs={tmp_path}", *PROTOCOL) == 1
    assert "holds another import (sha256 00000000" in capsys.readouterr().err


def test_an_import_that_was_killed_before_its_summary_can_be_repeated(import_into_run, tmp_path):
    np.savez(tmp_path / "x.npz", arr_0=np.random.default_rng(0).integers(0, 256, (60, 8, 8, 1), dtype=np.uint8))
    run_folder = import_into_run(tmp_path / "x.npz", "metric=[frechet_distance]")
    before = summary(run_folder)
    (run_folder / "summary.json").unlink()
    assert import_into_run(tmp_path / "x.npz", "metric=[frechet_distance]") == run_folder
    assert summary(run_folder) == before


def test_samples_of_another_size_are_refused(tmp_path, capsys):
    np.savez(tmp_path / "x.npz", arr_0=np.zeros((60, 9, 9, 1), dtype=np.uint8))
    assert run_command("import", f"from={tmp_path}/x.npz", "name=x", f"outputs={tmp_path}/o", *PROTOCOL) == 1
    assert "and the data are [1, 8, 8]" in capsys.readouterr().err
