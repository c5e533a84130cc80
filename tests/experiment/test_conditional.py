"""Conditional games from the command line: trained, sampled by class and from sources, evaluated, resumed."""

import io
import json

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console
from runs import assert_equal, run, state

import saddlepoint
from saddlepoint.callback.evaluation import Sampler
from saddlepoint.cli import main
from saddlepoint.config.compose import compose
from saddlepoint.error import Mistake
from saddlepoint.experiment.restore import load
from saddlepoint.experiment.sample import draw_samples
from saddlepoint.experiment.train import train
from saddlepoint.run.folder import Run

BY_CLASS = ["game=conditional", "architecture.generator.condition={label: 10}",
            "architecture.discriminator.condition={label: 10}"]  # fmt: skip
PAIRS = ["data=point", "data._target_=paired.Pairs", "~data.point", "~data.number", "data.shape=[1,4,4]",
         "data.classes=2", "allow_target=[paired]", "batch=8", "images=160", "metric=[frechet_distance]"]  # fmt: skip
PIX2PIX = ["game=two_player", "game.conditions=split:validation",
           "game.sides.real={of: x, condition: [source], judge: discriminator}",
           "game.sides.fake={by: generator, of: source, condition: [source], judge: discriminator}"]  # fmt: skip


def run_command(*arguments):
    return main([str(override) for override in arguments])


@pytest.fixture(scope="module")
def by_class(tmp_path_factory):
    return run(tmp_path_factory.mktemp("runs"), *BY_CLASS, "metric=[frechet_distance,gan_test]")


def paired(outputs, *arguments):
    """Train a small run on user-defined data."""
    small = ["architecture.generator.widths=[8]", "architecture.discriminator.widths=[8]", "logger=none",
             "callback=[finite,health,evaluation,grid,snapshot,journal,checkpoint]", f"outputs={outputs}",
             *(f"callback.{name}.images_between=80" for name in
               ("health", "evaluation", "grid", "snapshot", "journal", "checkpoint"))]  # fmt: skip
    console = Console(file=io.StringIO(), width=200)
    record = train(compose([*PAIRS, *small, *arguments]), console)
    record.said = console.file.getvalue()
    return record


def test_class_conditional_scores_are_measured_and_the_picture_has_a_class_per_row(by_class):
    assert {"fid_digits_900_train", "gan_test_digits_900_train"} <= set(by_class.summary["final"])
    assert "no network" not in by_class.said
    game = load(by_class)
    rows = {"label": torch.arange(10).repeat_interleave(8)}  # all ten, although eight rows are the default
    from saddlepoint.modality import default_modality
    from saddlepoint.stream import Stream

    x = game.sample(80, rows, Stream(0, "grid"))
    drawn = np.asarray(default_modality((1, 8, 8)).picture(x, 8).convert("L"))
    with Image.open(by_class.samples / "000001280.png") as picture:
        assert np.array_equal(np.asarray(picture.convert("L")), drawn)


def test_samples_of_one_class_are_conditioned_on_it(by_class, tmp_path):
    assert run_command("sample", f"run={by_class.folder}", "label=3", "n=7", f"to={tmp_path}/x.npz") == 0
    archive = np.load(tmp_path / "x.npz")
    assert archive["arr_1"].tolist() == [3] * 7
    game = load(by_class)
    expected = draw_samples(game, 7, condition={"label": torch.full((7,), 3)})
    assert np.array_equal(archive["arr_0"][..., 0], expected[:, 0].numpy())
    other = draw_samples(game, 7, condition={"label": torch.full((7,), 4)})
    assert not torch.equal(other, expected)


def test_by_label_draws_a_row_per_class_from_the_same_latents(by_class, tmp_path, capsys):
    assert run_command("sample", f"run={by_class.folder}", "by=label", "n=45", f"to={tmp_path}/x.npz") == 0
    archive = np.load(tmp_path / "x.npz")
    assert archive["arr_1"].tolist() == [label for label in range(10) for _ in range(4)]
    one = draw_samples(load(by_class), 4, condition={"label": torch.full((4,), 9)})
    assert np.array_equal(archive["arr_0"][-4:, ..., 0], one[:, 0].numpy())
    assert "40 samples" in capsys.readouterr().err
    assert run_command("sample", f"run={by_class.folder}", "by=label", "n=45", f"to={tmp_path}/x.png") == 0
    with Image.open(tmp_path / "x.png") as picture:
        assert picture.width * 10 < picture.height * 4.5  # four in a row, ten rows


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["label=10"], "label=10: the classes are 0 to 9"),
        (["label=three"], "label=three: a class is a number from 0 to 9."),
        (["by=lable"], "are not conditioned on lable; its labels are label. Did you mean label?"),
        (["label=1", "by=label"], "give one of the two"),
        (["source=somewhere"], "samples of this run have no source"),
        (["label={colour: 1}"], "are not conditioned on colour"),
        (["label={}"], "label={} names no label"),
        (["label=[1,2]"], "label=[1,2]: label is an integer"),
        (["game.conditions=none"], "samples need the condition label (column y), and there is none"),
    ],
)
def test_impossible_conditions_of_samples_are_refused(by_class, arguments, line, capsys, tmp_path):
    assert run_command("sample", f"run={by_class.folder}", *arguments, f"to={tmp_path}/x.png") == 1
    message = capsys.readouterr().err
    assert line in message
    assert "Traceback" not in message
    assert not (tmp_path / "x.png").exists()


def test_samples_with_given_conditions_need_no_source_of_conditions(by_class, tmp_path):
    arguments = ["label=3", "n=7", f"run={by_class.folder}"]
    assert run_command("sample", *arguments, f"to={tmp_path}/a.npz") == 0
    assert run_command("sample", *arguments, "game.conditions=none", f"to={tmp_path}/b.npz") == 0
    assert np.array_equal(*(np.load(tmp_path / f"{name}.npz")["arr_0"] for name in "ab"))


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("game.classes.y=5", r"game\.classes\.y=5: these data have 10 classes: set game\.classes\.y=10"),
        ("game.classes.y=0", r"game\.classes\.y=0: the number of classes is an integer of at least 1"),
    ],
)
def test_classes_that_differ_from_the_data_are_refused_before_anything_is_written(override, line, tmp_path):
    with pytest.raises(Mistake, match=line):
        run(tmp_path / "runs", *BY_CLASS, override)
    assert not (tmp_path / "runs").exists()


def test_by_label_is_refused_for_an_unconditional_run(tmp_path, capsys):
    record = run(tmp_path, "metric=[]", "images=64")
    assert run_command("sample", f"run={record.folder}", "label=1", f"to={tmp_path}/x.png") == 1
    assert "are not conditioned on label; its game has no label" in capsys.readouterr().err


def test_classes_can_be_chosen_by_name(tmp_path):
    source = tmp_path / "animals"
    for number, name in enumerate(("cat", "dog")):
        (source / name).mkdir(parents=True)
        for i in range(8):
            Image.fromarray(np.full((4, 4), 100 * number + i, np.uint8)).save(source / name / f"{i}.png")
    arguments = ["data=image_folder", f"data.folder={source}", "data.channels=1", "batch=4", "images=32", "metric=[]",
             "game=conditional", "architecture.generator.condition={label: 2}"]  # fmt: skip
    record = run(tmp_path / "runs", *arguments)
    for label in ("dog", "1"):
        assert run_command("sample", f"run={record.folder}", f"label={label}", "n=3", f"to={tmp_path}/{label}.npz") == 0
    dog, one = (np.load(tmp_path / f"{label}.npz") for label in ("dog", "1"))
    assert dog["arr_1"].tolist() == [1, 1, 1]
    assert np.array_equal(dog["arr_0"], one["arr_0"])


def test_a_run_conditioned_on_several_labels_and_attributes_resumes_exactly(tmp_path):
    named = "{label: y, colour: colour, attributes: attributes}"
    arguments = ["game=conditional", "game.classes={y: 2, colour: 3}", "game.conditions=split:validation",
             f"game.sides.real={{of: x, condition: {named}, judge: discriminator}}",
             f"game.sides.fake={{by: generator, condition: {named}, judge: discriminator}}",
             "architecture.generator.condition={label: 2, colour: 3, attributes: 2}",
             "architecture.discriminator.condition={colour: 3, attributes: 2}"]  # fmt: skip
    straight = paired(tmp_path / "a", *arguments)
    paired(tmp_path / "b", *arguments, "images=80")
    assert_equal(state(straight), state(paired(tmp_path / "b", *arguments)))
    for arguments in (["label={colour: 2, label: 1}"], ["by=colour"]):
        to = tmp_path / f"{len(arguments[0])}.npz"
        assert (
            run_command("sample", f"run={straight.folder}", "allow_target=[paired]", *arguments, "n=6", f"to={to}") == 0
        )
    game = load(straight, allow=["paired"])
    red, blue = (game.sample(4, {"colour": torch.full((4,), k)}) for k in (0, 2))
    assert not torch.equal(red, blue)


def test_an_image_condition_is_sampled_from_held_out_rows_and_from_a_folder(tmp_path, capsys):
    generator = ["architecture.generator._target_=pix.Translator", "allow_target=[paired,pix]"]
    overrides = [*PIX2PIX, "architecture.discriminator.condition={source: 16}", *generator]
    record = paired(tmp_path / "runs", *overrides)
    assert "fid_identity_20_train" in record.summary["final"]
    game = load(record, allow=["paired", "pix"])
    from paired import Pairs

    held_out = Pairs().split("validation").extra_columns["source"]
    x = game.sample(5)  # the first rows of the split, in order
    assert torch.equal(x, game.sample(5, {"source": held_out[:5].float() / 127.5 - 1}))
    folder = tmp_path / "sources"
    folder.mkdir()
    for i in range(3):
        Image.fromarray(held_out[i, 0].numpy()).save(folder / f"{i}.png")
    arguments = [f"run={record.folder}", "allow_target=[paired,pix]", f"source={folder}", f"to={tmp_path}/out.npz"]
    assert run_command("sample", *arguments) == 0
    samples = np.load(tmp_path / "out.npz")["arr_0"]
    assert samples.shape == (3, 4, 4, 1)
    assert np.array_equal(samples[..., 0], draw_samples(game, 3)[:, 0].numpy())
    Image.fromarray(np.zeros((5, 5), np.uint8)).save(folder / "3.png")
    assert run_command("sample", *arguments[:3], f"to={tmp_path}/again.npz") == 1
    assert "5" in capsys.readouterr().err


def test_an_unused_condition_is_reported_and_one_without_a_column_is_refused(tmp_path):
    record = run(tmp_path / "a", "game=conditional", "metric=[]", "images=64")
    assert "condition label: no network and no term uses it" in record.said
    with pytest.raises(Mistake, match=r"condition label is the column y, and these data have no classes"):
        run(tmp_path / "b", "game=conditional", "data=point", "metric=[]")
    with pytest.raises(Mistake, match=r"game\.sides\.fake needs sourse, which is not a column.*mean source"):
        paired(tmp_path / "c", "game.sides.fake={by: generator, condition: [sourse], judge: discriminator}")
    assert not any((tmp_path / name).exists() for name in "bc")


def test_the_record_of_a_run_has_the_shapes_of_its_further_columns(tmp_path):
    record = paired(tmp_path, "images=8", "metric=[]")
    data = json.loads((Run(record.folder).folder / "provenance.json").read_text())["data"]
    assert data["columns"] == {"source": [1, 4, 4], "colour": [], "attributes": [2]}


def test_classes_are_written_to_an_npz_for_any_name_of_their_condition(tmp_path):
    sides = [f"game.sides.{name}={{{start}, condition: {{kind: y}}, judge: discriminator}}"
             for name, start in (("real", "of: x"), ("fake", "by: generator"))]  # fmt: skip
    config = [*sides, "game.conditions=labels", "game.classes={y: 10}", "architecture.generator.condition={kind: 10}",
              "metric=[]", "images=64"]  # fmt: skip
    record = run(tmp_path, *config)
    for option in ("by=kind", "label={kind: 4}"):
        assert run_command("sample", f"run={record.folder}", option, "n=20", f"to={tmp_path}/x.npz") == 0
        expected = sorted([*range(10)] * 2) if option == "by=kind" else [4] * 20
        assert np.load(tmp_path / "x.npz")["arr_1"].tolist() == expected
    assert run_command("export", f"run={record.folder}", "formats=[safetensors]", f"to={tmp_path}/file") == 0
    _, y = saddlepoint.exported(tmp_path / "file").sampler(0)(20)
    assert torch.equal(y, Sampler(load(record))(20)[1])
