"""saddlepoint memorisation, for runs and for samples on disk."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from runs import run
from variants import game_of

from saddlepoint import modality
from saddlepoint.cli import main
from saddlepoint.data.digits import Digits
from saddlepoint.data.mnist import MNIST
from saddlepoint.error import Mistake
from saddlepoint.experiment.memorisation import _mean_logits, held_out_splits
from saddlepoint.layer.minibatch_discrimination import MinibatchDiscrimination


@pytest.fixture(scope="module")
def record(tmp_path_factory):
    return run(tmp_path_factory.mktemp("runs"))


def called(*words):
    return main([str(override) for override in words])


def samples(folder, copies):
    """An npz of 240 held-out images, the first of them replaced by copies of training images."""
    data = Digits()
    order = torch.randperm(450, generator=torch.Generator().manual_seed(0))
    x = data.split("test").x[order[:240]].clone()
    x[:copies] = data.split("train").x[:copies]
    np.savez(folder / "x.npz", arr_0=x.permute(0, 2, 3, 1).numpy())
    return folder / "x.npz"


def test_a_run_gives_a_table_a_row_and_a_picture(record, capsys):
    assert called("memorisation", f"run={record.folder}", "n=60") == 0
    printed = capsys.readouterr().out
    (line,) = (record.folder / "memorisation.jsonl").read_text().splitlines()
    row = json.loads(line)
    assert (row["n"], row["n_train"], row["n_held_out"], row["images"]) == (60, 897, 900, 1280)
    names = [(one["statistic"], one["space"]) for one in row["statistics"]]
    distances = ["distance ratio", "authenticity", "C_T"]
    assert names == [
        *((name, "pixels") for name in distances),
        *((name, "features") for name in distances),
        ("MiFID", "features"),
        ("membership AUC", "D's logits"),
    ]
    assert all(name in printed for name, _ in names)
    by_name = {(one["statistic"], one["space"]): one for one in row["statistics"]}
    assert 0.4 < by_name["membership AUC", "D's logits"]["samples"] < 0.6  # 20 rounds teach D nobody
    assert by_name["distance ratio", "pixels"]["held_out"] == pytest.approx(1, abs=0.1)
    assert not row["alarm"]["rings"]
    picture = record.folder / "memorisation" / "000001280.png"
    assert row["picture"] == str(picture)
    assert Image.open(picture).height > 1000
    assert row["weights"] == "averaged"
    assert called("memorisation", f"run={record.folder}", "n=60", "average=false", f"to={picture}") == 0
    assert json.loads((record.folder / "memorisation.jsonl").read_text().splitlines()[-1])["weights"] == "raw"


def test_minibatch_discrimination_is_asked_by_full_batches_of_training(tmp_path, monkeypatch):
    folder = run(tmp_path, "batch=40", "+layer@architecture.discriminator.neck=minibatch_discrimination").folder
    arguments, forward = [], MinibatchDiscrimination.forward

    def noted(layer, features):
        arguments.append(len(features))
        return forward(layer, features)

    monkeypatch.setattr(MinibatchDiscrimination, "forward", noted)
    assert called("memorisation", f"run={folder}", "n=60") == 0
    assert arguments[-46:] == [40] * 46  # 897 members and 900 others, each 23 batches


def test_d_is_asked_of_images_as_they_are_where_it_was_trained_on_augmented_ones():
    game, data = game_of("adaptive augmentation on digits", "game.makers.augment.start=1")
    split, rows = data.split("train"), torch.arange(60)
    expected = game.player("discriminator").network(split.batch_at(rows).x, {}).logits
    torch.testing.assert_close(_mean_logits(game, split, rows, 16), expected.detach())


def test_copies_on_disk_raise_the_alarm_and_are_named(tmp_path, capsys):
    words = ["data=digits", f"to={tmp_path}/picture.png", "evaluation.extractor=null"]
    assert called("memorisation", f"samples={samples(tmp_path, 80)}", *words) == 0
    printed = " ".join(capsys.readouterr())
    assert "alarm: training images are" in printed
    assert "a sign of copying" in printed
    assert "no features" in printed
    assert (tmp_path / "picture.png").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["run=nowhere"], "is not a run folder"),
        (["run=a", "samples=b"], "whose samples?"),
        ([], "whose samples?"),
        (["samples=x.npz"], "add data=digits"),
        (["samples=nowhere.npz", "data=digits"], "nowhere.npz"),
        (["run=nowhere", "n=10"], "n=10: memorisation takes 50"),
        (["run=nowhere", "level=2.0"], "level=2.0"),
        (["run=nowhere", "at=all"], "it is last, best, previous"),
    ],
)
def test_bad_requests_give_one_line(words, message, capsys):
    assert called("memorisation", *words) == 1
    printed = capsys.readouterr().err
    assert message in printed
    assert "Traceback" not in printed


def test_data_without_images_held_out_of_their_own_pool_are_refused_with_what_to_do():
    with pytest.raises(Mistake, match=r"random part of the same pool.*\n.*data\.reserved=5000"):
        held_out_splits(MNIST())
    few = Digits()
    few.setup()
    few.exchangeable_splits = ("train", "validation")
    assert [len(split) for split in held_out_splits(few)] == [450]
    few._splits["validation"].x = few._splits["validation"].x[:9]
    with pytest.raises(Mistake, match="holds out 9 images, but at least 50 are needed"):
        held_out_splits(few)


@pytest.mark.parametrize(
    ("kind", "planar", "values"), [(modality.Image(), True, "pixels"), (modality.Audio(bits=16), False, "audio")]
)
def test_only_images_are_moved_by_pixels_and_called_so(kind, planar, values, monkeypatch):
    from saddlepoint.evaluation import memorisation_findings
    from saddlepoint.extractor.extractor import Features

    x = torch.zeros(4, 1, 6, 6, dtype=torch.uint8) if planar else torch.zeros(4, 1, 36, dtype=torch.int16)
    item = Features(torch.zeros(4, 1), x=x)
    sets = memorisation_findings.ImageSets(item, item, item, None, True, kind)
    moved = []
    monkeypatch.setattr(
        memorisation_findings, "find_space_neighbours", lambda *parts, with_moves: moved.append(with_moves)
    )
    assert set(memorisation_findings.find_neighbours(sets)) == {values}
    assert moved == [planar]
