"""saddlepoint sample and evaluate for an existing run."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from runs import run

import saddlepoint
from saddlepoint.cli import main
from saddlepoint.error import Mistake
from saddlepoint.run.folder import Run


@pytest.fixture(scope="module")
def record(tmp_path_factory):
    fast = [f"optimizer.{player}.lr=1e-3" for player in ("generator", "discriminator")]
    return run(tmp_path_factory.mktemp("runs"), *fast, "images=19200", "callback.evaluation.images_between=6400")


def called(*words):
    return main([str(override) for override in words])


def test_evaluating_a_run_again_gives_its_scores_and_is_recorded(record):
    assert called("evaluate", f"run={record.folder}") == 0
    last = json.loads((record.folder / "evaluations.jsonl").read_text().splitlines()[-1])
    assert last["scores"] == record.summary["final"]
    assert (last["images"], last["at"]) == (19200, "last")


def test_an_override_changes_the_contract_and_is_printed(record, capsys):
    words = ["evaluation.n=500", "evaluation.split=test", "evaluation.average=false", "metric=[frechet_distance]"]
    words.append("evaluation.second_extractor=null")
    assert called("evaluate", f"run={record.folder}", *words) == 0
    last = json.loads((record.folder / "evaluations.jsonl").read_text().splitlines()[-1])
    ((key, score),) = last["scores"].items()
    assert key == "fid_digits_500_test"
    assert score["contract"]["weights"] == "raw"
    assert (score["contract"]["n_real"], score["contract"]["n_fake"]) == (450, 500)
    printed = capsys.readouterr().err
    assert all(f"override: {override}" in printed for override in words)


def test_the_best_checkpoint_is_the_one_with_the_best_first_score(record):
    assert (record.checkpoints / "best.ckpt").exists()
    measured = [(r["fid_digits_900_train"], r["images"]) for r in record.rows() if "fid_digits_900_train" in r][1:]
    assert called("evaluate", f"run={record.folder}", "at=best", "metric=[frechet_distance]") == 0
    last = json.loads((record.folder / "evaluations.jsonl").read_text().splitlines()[-1])
    assert (last["scores"]["fid_digits_900_train"]["value"], last["images"]) == min(measured)


def test_samples_go_to_a_grid_an_npz_or_a_folder_and_are_the_same(record, tmp_path):
    for to in ("grid.png", "x.npz", "folder/"):
        assert called("sample", f"run={record.folder}", "n=12", f"to={tmp_path}/{to}") == 0
    array = np.load(tmp_path / "x.npz")["arr_0"]
    assert array.dtype == np.uint8
    assert array.shape == (12, 8, 8, 1)
    files = sorted((tmp_path / "folder").iterdir())
    assert [f.name for f in files] == [f"{i:02d}.png" for i in range(12)]
    assert np.array_equal(np.stack([np.asarray(Image.open(f)) for f in files]), array[..., 0])
    assert Image.open(tmp_path / "grid.png").width > 3 * 56


def test_samples_depend_on_their_seed_alone_and_not_on_how_many_are_drawn_at_once(record):
    from saddlepoint.experiment.sample import draw_samples

    game = saddlepoint.load(record.folder)
    one, two = draw_samples(game, 30, seed=1, batch=30), draw_samples(game, 30, seed=1, batch=10)
    assert torch.equal(one, two)
    assert not torch.equal(one, draw_samples(game, 30, seed=2))


def test_raw_weights_of_a_snapshot_are_refused(record, tmp_path, capsys):
    """They would be the initial weights, because a snapshot has only averaged ones."""
    at = Run(record.folder).folder / "snapshots"
    images = int(sorted(at.glob("*.safetensors"))[-1].stem)
    for words in (
        ["sample", f"to={tmp_path / 'x.npz'}", "average=false"],
        ["evaluate", "evaluation.average=false", "metric=[frechet_distance]"],
        ["export", f"to={tmp_path / 'folder'}", "average=false"],
    ):
        assert called(words[0], f"run={record.folder}", f"at={images}", *words[1:]) == 1
        assert "snapshots hold averaged weights only: for average=false, use a checkpoint" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
    assert called("sample", f"run={record.folder}", f"at={images}", f"to={tmp_path / 'x.npz'}", "n=4") == 0


def test_loading_gives_the_generator_that_was_trained(record):
    game = saddlepoint.load(record.folder)
    assert game.images == 19200
    x = game.sample(5)
    assert x.shape == (5, 1, 8, 8)
    assert x.abs().max() <= 1
    assert not torch.equal(x, game.sample(5, average=False))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["sample", "n=0"], "n=0"),
        (["sample", "to=x.gif"], "to=x.gif"),
        (["sample", "at=worst"], "at=worst: it is last, best, previous"),
        (["evaluate", "evaluation.n=1"], "cannot be measured"),
        (["evaluate", "evaluation.extractor=mnist"], "mnist"),
        (["evaluate", "evaluation.extractor=digitz"], "Did you mean digits"),
        (["evaluate", "evaluation.nn=5"], "evaluation.n"),
    ],
)
def test_bad_requests_give_one_line(record, words, message, capsys):
    assert called(words[0], f"run={record.folder}", *words[1:]) == 1
    printed = capsys.readouterr().err
    assert message in printed
    assert "Traceback" not in printed


def test_a_folder_without_a_run_is_named(tmp_path, capsys):
    assert called("sample", f"run={tmp_path}") == 1
    assert "is not a run folder" in capsys.readouterr().err
    with pytest.raises(Mistake):
        saddlepoint.load(tmp_path)


def test_samples_are_not_written_to_a_folder_with_samples(record, tmp_path, capsys):
    (tmp_path / "f").mkdir()
    (tmp_path / "f" / "0.png").write_bytes(b"")
    assert called("sample", f"run={record.folder}", f"to={tmp_path}/f/") == 1
    assert "not empty" in capsys.readouterr().err


def test_a_run_is_rebuilt_from_its_config_not_from_defaults(record, tmp_path):
    """widths=[16] is only in the run's config.yaml."""
    game = saddlepoint.load(Run(record.folder).folder)
    assert game.generator.network.layers[0][0].out_features == 16
