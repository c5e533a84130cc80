"""What comes from elsewhere is measured as our own runs are, and says where it comes from."""

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
PROTOCOL = ["data=digits", "evaluation.second=null"]
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
    assert called("export", f"run={record.folder}", f"to={to}", "formats=[safetensors]") == 0
    return to


@pytest.fixture
def brought(outputs, request):
    """Import something under the test's own name; returns its folder."""

    def bring(source, *words, seed=0):
        name = request.node.name.partition("[")[0][:40]
        words = [f"from={source}", f"name={name}", f"seed={seed}", f"outputs={outputs}", *PROTOCOL, *words]
        assert called("import", *words) == 0
        return outputs / name / f"seed{seed}"

    return bring


def called(*words):
    return main([str(word) for word in words])


def summary(folder):
    return json.loads((folder / "summary.json").read_text())


def described(folder: Path, **changes) -> Path:
    """A generator.yaml in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    plain = {key: value for key, value in {**PIXELS, **changes}.items() if value != "absent"}
    (folder / "generator.yaml").write_text(yaml.safe_dump(plain))
    return folder


class Maker(nn.Module):
    """z to pixels between `low` and `high`."""

    def __init__(self, low: float = -1.0, high: float = 1.0, side: int = 8) -> None:
        super().__init__()
        self.last, self.low, self.high, self.side = nn.Linear(6, side * side), low, high, side

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        x = torch.sigmoid(self.last(z)).view(-1, 1, self.side, self.side)
        return self.low + (self.high - self.low) * x


def scripted(folder: Path, module: nn.Module) -> Path:
    torch.jit.script(module.eval()).save(str(folder / "generator.pt"))
    return folder / "generator.pt"


def maker(**settings) -> Maker:
    torch.manual_seed(0)
    return Maker(**settings)


# --------------------------------------------------------------------------------------------------------- our own back


def test_a_runs_own_export_comes_back_with_the_runs_own_scores(record, folder, brought):
    found = summary(brought(folder / "generator.safetensors"))
    assert found["final"] == record.summary["final"]
    assert (found["status"], found["origin"], found["images"]) == ("finished", "imported", None)


def test_an_export_with_statistics_that_were_measured_anew_says_so_and_has_the_runs_contract(
    outputs, brought, tmp_path
):
    norm = "architecture.generator.norm={_target_: torch.nn.BatchNorm1d, _partial_: true}"
    anew = "game.players.generator.average.statistics=reestimated"
    words = [norm, anew, "metric=[frechet_distance]", "callback.evaluation.images_between=1280"]
    own = run(outputs, "name=anew", *words, *PROTOCOL)
    assert own.summary["final"]["fid_digits_900_train"]["contract"]["batch_norm"] == "reestimated"
    assert called("export", f"run={own.folder}", f"to={tmp_path}/x", "formats=[safetensors]") == 0
    found = summary(brought(tmp_path / "x" / "generator.safetensors", "metric=[frechet_distance]"))
    (score,), (theirs,) = found["final"].values(), own.summary["final"].values()
    assert score["contract"] == theirs["contract"]
    assert score["value"] == pytest.approx(theirs["value"])


@pytest.mark.slow
def test_a_program_that_is_trusted_is_measured_too(record, brought, tmp_path):
    assert called("export", f"run={record.folder}", f"to={tmp_path}/x", "formats=[program]") == 0
    found = summary(brought(tmp_path / "x" / "generator.pt2", "trust=true"))
    for key, score in record.summary["final"].items():
        assert found["final"][key]["value"] == pytest.approx(score["value"], rel=1e-2)


def test_compare_puts_both_in_one_column(record, folder, brought, outputs, tmp_path):
    theirs = brought(folder)
    words = [f"runs=[{theirs.parent},{record.folder.parent}]", "logger.mode=disabled", f"to={tmp_path}/c"]
    assert called("compare", *words) == 0
    rows = (tmp_path / "c" / "runs.csv").read_text().splitlines()
    value = record.summary["final"]["fid_digits_900_train"]["value"]
    head = rows[0].split(",")
    finals = {row.split(",")[0]: row.split(",")[head.index("final")] for row in rows[1:]}
    assert set(finals) == {"imported=none", f"imported={theirs.parent.name}"}
    assert [float(own) for own in finals.values()] == pytest.approx([value, value])
    assert load_record(theirs).is_imported
    assert not load_record(record.folder).is_imported


def test_the_arms_of_our_own_runs_are_still_told_apart_by_what_they_differ_in():
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


def test_the_same_import_by_another_protocol_is_added_to_its_record(folder, brought):
    place = brought(folder)
    before = summary(place)
    assert brought(folder, "evaluation.split=test", "metric=[frechet_distance]") == place
    assert summary(place) == before
    assert {"fid_digits_900_train", "fid_digits_1347_test"} <= set(load_record(place).final_scores)


def test_what_was_imported_is_on_record_without_a_game(folder, brought, capsys):
    place = brought(folder, "source=a mail of theirs", "licence=cc-by-4.0")
    told = json.loads((place / "provenance.json").read_text())["imported"]
    digest = summary(place)["imported"]["sha256"]
    assert digest == __import__("hashlib").sha256((folder / "generator.safetensors").read_bytes()).hexdigest()
    assert (told["kind"], told["weights"], told["weights_stated"]) == ("generator", "averaged", True)
    assert (told["source"], told["licence"]) == ("a mail of theirs", "cc-by-4.0")
    assert Image.open(place / "samples" / "000000000.png").width > 300
    for command in ("evaluate", "sample", "export"):
        assert called(command, f"run={place}") == 1
        assert "was imported and has no game" in capsys.readouterr().err


# ------------------------------------------------------------------------------------------------------ from elsewhere


@pytest.mark.slow
def test_a_torchscript_of_each_range_has_scores(brought, tmp_path):
    for name, (low, high, said) in RANGES.items():
        file = scripted(described(tmp_path / name, range=said), maker(low=low, high=high))
        found = summary(brought(file, "trust=true", "metric=[frechet_distance]", seed=ord(name)))
        assert 0 < found["final"]["fid_digits_900_train"]["value"] < 500


def test_a_torchscript_runs_when_it_is_trusted_and_its_range_is_brought_to_ours(tmp_path, capsys):
    for name, (low, high, said) in RANGES.items():
        scripted(described(tmp_path / name, range=said), maker(low=low, high=high))
    assert called("import", f"from={tmp_path}/a", "name=distrusted", f"outputs={tmp_path}", *PROTOCOL) == 1
    assert "is a program: it may do what it likes" in capsys.readouterr().err
    same = [saddlepoint.exported(tmp_path / name, trust=True) for name in "abc"]
    latent = same[0].latent(20)
    assert all((other(latent) - same[0](latent)).abs().max() < 1e-5 for other in same)


def test_an_onnx_file_of_somebody_elses_is_asked_part_by_part(brought, tmp_path):
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
    onnx.save(model, str(described(tmp_path / "o") / "g.onnx"))
    generator = saddlepoint.exported(tmp_path / "o")
    z = generator.latent(4)
    assert torch.allclose(generator(z), torch.tanh(z["z"] @ torch.from_numpy(weight)).view(4, 1, 8, 8), atol=1e-6)


def test_latents_with_space_and_classes_reach_the_network_as_described(tmp_path):
    class Spatial(nn.Module):
        def forward(self, z: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            assert z.shape[1:] == (4, 1, 1)
            return torch.tanh(z.sum(1, keepdim=True).expand(-1, 1, 8, 8) + y.view(-1, 1, 1, 1).float())

    prior = {"z": {"distribution": "uniform", "shape": [4, 1, 1], "low": 0.0, "high": 1.0}}
    scripted(described(tmp_path / "s", prior=prior, classes=3), Spatial())
    generator = saddlepoint.exported(tmp_path / "s", trust=True)
    z = generator.latent(5)["z"]
    assert z.shape == (5, 4)
    assert 0 <= z.min() <= z.max() < 1
    y = torch.tensor([0, 1, 2, 0, 1])
    assert torch.allclose(generator({"z": z}, {"label": y})[:, 0, 0, 0], torch.tanh(z.sum(1) + y))
    assert set(generator.sampler(0)(60)[1].tolist()) == {0, 1, 2}


def test_a_modality_that_the_shape_does_not_imply_may_be_without_a_range(tmp_path):
    scripted(described(tmp_path / "s", range=None, modality="spectrum"), maker(low=-30.0, high=40.0))
    generator = saddlepoint.exported(tmp_path / "s", trust=True)
    assert generator(generator.latent(50)).max() > 3


class Joined(nn.Module):
    """z and a picture, one after the other."""

    def forward(self, z: torch.Tensor, source: torch.Tensor) -> torch.Tensor:
        return torch.tanh(source + z.sum(1).view(-1, 1, 1, 1))


class ByName(nn.Module):
    """Latents and conditions, each by name."""

    def forward(self, latent: dict[str, torch.Tensor], condition: dict[str, torch.Tensor]) -> torch.Tensor:
        shift = latent["z"].sum(1) + condition["label"].float()
        return torch.tanh(condition["source"] + shift.view(-1, 1, 1, 1))


class ByClass(nn.Module):
    """Latents by name and the class itself, as networks of the first edition had it."""

    def forward(self, latent: dict[str, torch.Tensor], y: torch.Tensor) -> torch.Tensor:
        shift = latent["z"].sum(1) + y.float()
        return torch.tanh(shift.view(-1, 1, 1, 1).expand(-1, 1, 8, 8))


PICTURES = {"source": {"shape": [1, 8, 8]}}
ASKED = {  # whose module, what its description says, its conditions
    "parts": (Joined, {"inputs": PICTURES}, {"source": None}),
    "mapping": (ByName, {"inputs": PICTURES, "classes": {"label": 4}, "call": "mapping"}, {"label": 4, "source": None}),
    "the class itself": (ByClass, {"classes": 4, "call": "mapping"}, {"label": 4}),
}


@pytest.mark.parametrize("name", ASKED)
def test_a_torchscript_is_given_its_conditions_as_its_description_says(name, tmp_path):
    kind, said, conditions = ASKED[name]
    scripted(described(tmp_path / "s", **said), kind())
    generator = saddlepoint.exported(tmp_path / "s", trust=True)
    assert generator.conditions == conditions
    latent = generator.latent(5)
    given = {"label": torch.arange(5) % 4, "source": torch.rand(5, 1, 8, 8)}
    given = {own: given[own] for own in conditions}
    shift = latent["z"].sum(1) + given.get("label", torch.zeros(5))
    expected = torch.tanh(given.get("source", torch.zeros(1, 1, 8, 8)) + shift.view(-1, 1, 1, 1))
    assert torch.allclose(generator(latent, dict(reversed(given.items()))), expected)
    with pytest.raises(Mistake, match=r": (label|source|label, source) is missing"):
        generator(latent)


def test_an_image_to_image_network_of_somebody_elses_has_no_latent(tmp_path):
    class Negative(nn.Module):
        def forward(self, source: torch.Tensor) -> torch.Tensor:
            return -source

    scripted(described(tmp_path / "s", prior={}, inputs=PICTURES, conditions="split:test"), Negative())
    generator = saddlepoint.exported(tmp_path / "s", trust=True)
    source = torch.rand(3, 1, 8, 8)
    assert generator.latent(3) == {}
    assert torch.equal(generator({}, {"source": source}), -source)
    with pytest.raises(Mistake, match=r"condition source is float32 \[N, 1, 8, 8\], and this is float32 \[3, 8, 8\]"):
        generator({}, {"source": source[:, 0]})
    with pytest.raises(Mistake, match="there are no data to take rows from"):
        generator.sampler(0)(3)


def test_samples_alone_are_measured_by_the_same_contract(record, brought, tmp_path, capsys):
    words = [f"run={record.folder}", "n=1000", f"to={tmp_path}/x.npz"]
    assert called("sample", *words) == 0
    found = summary(brought(tmp_path / "x.npz"))
    ours = record.summary["final"]
    assert "the first 900 are measured" in capsys.readouterr().err
    assert {key: score["contract"] for key, score in found["final"].items()} == {
        k: s["contract"] for k, s in ours.items()
    }
    array = np.load(tmp_path / "x.npz")["arr_0"][:900]
    to = tmp_path / "pictures"
    to.mkdir()
    for i, image in enumerate(array):
        Image.fromarray(image[..., 0]).save(to / f"{i:04d}.png")
    again = summary(brought(to, seed=1))["final"]
    for key, score in found["final"].items():
        assert again[key]["value"] == pytest.approx(score["value"], rel=1e-6)
    assert found["imported"]["weights_stated"] is False


def test_fewer_samples_than_the_protocol_takes_stand_under_a_contract_of_their_own(brought, tmp_path, capsys):
    np.savez(tmp_path / "few.npz", arr_0=np.random.default_rng(0).integers(0, 256, (60, 8, 8, 1), dtype=np.uint8))
    found = summary(brought(tmp_path / "few.npz", "metric=[frechet_distance]"))
    assert list(found["final"]) == ["fid_digits_60_train"]
    assert "a contract of their own" in capsys.readouterr().err


# ------------------------------------------------------------------------------------------------------------ mistakes


def weights(folder: Path) -> Path:
    safetensors.torch.save_file({"a": torch.zeros(3)}, folder / "generator.safetensors")
    return folder


def ours(**changes):
    node = {"_target_": "saddlepoint.architecture.mlp.Generator", "latent": 6, "shape": [1, 8, 8], "widths": [8]}
    return {"generator": {**node, **changes}}


def part(**node):
    return {"z": {"distribution": "normal", **(node or {"dim": 6})}}


CASES = {
    "a range": (lambda f: scripted(described(f, range=[0, 1]), maker()), "says range [0, 1]"),
    "another shape than described": (lambda f: scripted(described(f), maker(side=7)), "makes [1, 7, 7]"),
    "a key that is missing": (lambda f: scripted(described(f, range="absent"), maker()), "lacks range"),
    "a shape that is missing": (lambda f: scripted(described(f, data={}), maker()), "lacks data.shape"),
    "a key that nobody reads": (lambda f: scripted(described(f, rnge=[0, 1]), maker()), "nothing reads rnge"),
    "a range that is a mapping": (lambda f: weights(described(f, range={"low": 0, "high": 1})), "range={"),
    "an architecture that is a list": (lambda f: weights(described(f, architecture=[1])), "architecture=[1]: it is"),
    "an architecture that is a name": (lambda f: weights(described(f, architecture={"generator": "mlp"})), "_target_"),
    "an architecture without a target": (lambda f: weights(described(f, architecture=ours(_target_=None))), "_target_"),
    "a shape of nothing": (lambda f: weights(described(f, prior=part(shape=[0]))), "z.shape=[0]: it is whole numbers"),
    "a shape that is a word": (lambda f: weights(described(f, prior=part(shape="abc"))), "z.shape=abc: it is whole"),
    "no dim": (lambda f: weights(described(f, prior=part(dim=None))), "prior.z.dim=null: it is a whole number"),
    "a dim between numbers": (lambda f: weights(described(f, prior=part(dim=100.5))), "z.dim=100.5: it is a whole"),
    "a dim of our own that is none": (
        lambda f: weights(described(f, prior={"z": {"_target_": "saddlepoint.prior.normal.Normal", "dim": 100.5}})),
        "prior.z.dim=100.5",
    ),
    "a name that is taken": (lambda f: weights(described(f, architecture=ours(), prior={"keys": part()["z"]})), "keys"),
    "a part that draws nothing": (
        lambda f: weights(described(f, architecture=ours(), prior={"z": {"_target_": "torch.nn.Identity"}})),
        "torch.nn.Identity draws no latents",
    ),
    "a distribution": (
        lambda f: scripted(described(f, prior={"z": {"distribution": "norml", "dim": 6}}), maker()),
        "Did you mean normal",
    ),
    "another latent": (
        lambda f: scripted(described(f, prior={"z": {"distribution": "normal", "dim": 5}}), maker()), "z [2, 5]",
    ),
    "no description": (lambda f: weights(f), "Put a generator.yaml beside it"),
    "weights without a class": (lambda f: weights(described(f)), "lacks architecture.generator"),
    "another network's weights": (lambda f: weights(described(f, architecture=ours())), "another network"),
    "no classes": (lambda f: scripted(described(f, classes={"label": 0}), maker()), "classes.label=0: how many"),
    "inputs that are a list": (lambda f: scripted(described(f, inputs=[1]), maker()), "it is {shape: [3, 64, 64], "),
    "an input without a shape": (lambda f: scripted(described(f, inputs={"a": {}}), maker()), "inputs.a={}: it is {sh"),
    "an input of another type": (
        lambda f: scripted(described(f, inputs={"a": {"shape": [2], "dtype": "float23"}}), maker()), "mean float32",
    ),
    "one name for two": (
        lambda f: scripted(described(f, classes={"a": 2}, inputs={"a": {"shape": [2]}}), maker()), "in classes and in",
    ),
    "conditions from nowhere": (
        lambda f: scripted(described(f, classes=3, conditions="lables"), maker()), "conditions=lables must be none",
    ),
    "conditions that cannot be drawn": (
        lambda f: scripted(described(f, inputs={"a": {"shape": [2]}}), maker()), "which is not a label column",
    ),
    "a picture without a range": (lambda f: weights(described(f, range=None)), "range=null: it is [-1, 1]"),
    "images that are none": (lambda f: weights(described(f, images=-1)), "images=-1: how many real images"),
    "makers without sides": (
        lambda f: weights(described(f, architecture=ours(), makers={"paste": {"_target_": "torch.nn.Identity"}})),
        "makers says nothing without sides",
    ),
    "another network alone": (
        lambda f: weights(described(f, architecture={"g": ours()["generator"]})), "lacks architecture.generator: g",
    ),
    "a maker that is not there": (
        lambda f: weights(described(f, architecture=ours(), sides={"fake": {"by": ["generator", "past"]}},
                                    makers={"paste": {"_target_": "torch.nn.Identity"}})), "Did you mean paste?",
    ),
    "a side that is not there": (
        lambda f: weights(described(f, architecture=ours(), sides={"fake": {"by": "generator"}}, samples="fakes")),
        "samples=fakes: there is no such side. Did you mean fake?",
    ),
    "a key that no side has": (
        lambda f: weights(described(f, architecture=ours(), sides={"fake": {"bye": "generator"}})), "Did you mean by?",
    ),
    "sides of parts": (
        lambda f: weights(described(f, architecture=ours(), call="parts", sides={"fake": {"by": "generator"}})),
        "call=parts: networks that sides name",
    ),
    "a class that samples are not asked for": (
        lambda f: weights(described(f, architecture=ours(), classes={"lable": 3},
                                    sides={"fake": {"by": "generator", "condition": {"label": "y"}}})),
        "lable: samples are made under label. Did you mean label?",
    ),
    "a class that is not there": (
        lambda f: weights(described(f, architecture=ours(_target_="saddlepoint.architecture.mlp.Genrator"))),
        "Did you mean Generator",
    ),
    "a class that nobody allowed": (
        lambda f: weights(described(f, architecture=ours(_target_="conditional.Plain"))), "allow_target=[conditional]",
    ),
    "a function of the system": (
        lambda f: weights(described(f, architecture=ours(_target_="os.system"))), "not on the list",
    ),
}  # fmt: skip


def told_of(place, **settings):
    """What is said of a generator that cannot be asked, one line."""
    with pytest.raises(Mistake) as told:
        saddlepoint.exported(place, trust=True, **settings).sampler(0)(2)
    assert "\n" not in str(told.value)
    return str(told.value)


@pytest.mark.parametrize("case", CASES)
def test_what_does_not_fit_is_told_in_a_line(case, tmp_path):
    make, said = CASES[case]
    make(tmp_path)
    assert said in told_of(tmp_path)


@pytest.mark.parametrize("name", ["g.safetensors", "g.pt", "g.onnx", "g.pt2", "g.pkl", "g.gif"])
def test_a_file_that_is_not_what_its_name_says_is_named_and_a_pickle_never_read(name, tmp_path):
    described(tmp_path, architecture=ours())
    if name == "g.pt":
        torch.save({"a": torch.zeros(3)}, tmp_path / name)
    else:
        (tmp_path / name).write_bytes(b"nothing of the kind")
    told = told_of(tmp_path / name)
    assert str(tmp_path / name) in told
    assert ("pickle" in told) == (name in ("g.pt", "g.pkl"))


def test_a_generator_of_another_shape_than_the_data_is_refused_and_leaves_nothing(tmp_path, capsys):
    scripted(described(tmp_path / "g", data={"shape": [1, 7, 7]}), maker(side=7))
    words = [f"from={tmp_path}/g", "name=x", f"outputs={tmp_path}/o", "trust=true", *PROTOCOL]
    assert called("import", *words) == 1
    told = capsys.readouterr().err
    assert "and digits is [1, 8, 8]" in told
    assert "Traceback" not in told
    assert not (tmp_path / "o" / "x" / "seed0").exists()


@pytest.mark.parametrize(
    ("words", "said"),
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
def test_bad_words_are_answered_in_a_line(record, folder, outputs, words, said, capsys):
    source = [] if any(word.startswith("from=") for word in words) else [f"from={folder}"]
    assert called("import", *source, f"outputs={outputs}", *words) == 1
    told = capsys.readouterr().err
    assert said in told
    assert "Traceback" not in told


def test_another_file_under_a_taken_name_and_seed_is_another_import(tmp_path, capsys):
    (tmp_path / "theirs" / "seed0").mkdir(parents=True)
    Run(tmp_path / "theirs" / "seed0").update_summary(origin="imported", imported={"sha256": "0" * 64})
    np.savez(tmp_path / "x.npz", arr_0=np.zeros((60, 8, 8, 1), dtype=np.uint8))
    assert called("import", f"from={tmp_path}/x.npz", "name=theirs", f"outputs={tmp_path}", *PROTOCOL) == 1
    assert "holds another import (sha256 00000000" in capsys.readouterr().err


def test_an_import_that_was_killed_before_its_summary_is_made_again(brought, tmp_path):
    np.savez(tmp_path / "x.npz", arr_0=np.random.default_rng(0).integers(0, 256, (60, 8, 8, 1), dtype=np.uint8))
    place = brought(tmp_path / "x.npz", "metric=[frechet_distance]")
    whole = summary(place)
    (place / "summary.json").unlink()
    assert brought(tmp_path / "x.npz", "metric=[frechet_distance]") == place
    assert summary(place) == whole


def test_samples_of_another_size_are_refused(tmp_path, capsys):
    np.savez(tmp_path / "x.npz", arr_0=np.zeros((60, 9, 9, 1), dtype=np.uint8))
    assert called("import", f"from={tmp_path}/x.npz", "name=x", f"outputs={tmp_path}/o", *PROTOCOL) == 1
    assert "and the data are [1, 8, 8]" in capsys.readouterr().err
