"""Measuring runs and stored samples, and why two runs have different scores."""

import io
import json
import shutil
from pathlib import Path
from pydoc import locate

import numpy as np
import pytest
import torch
from evaluated import against, evaluate
from omegaconf import OmegaConf
from PIL import Image
from rich.console import Console
from runs import run

import saddlepoint
from saddlepoint.callback.evaluation import Sampler
from saddlepoint.cli import main
from saddlepoint.config.compose import compose
from saddlepoint.error import Mistake
from saddlepoint.evaluation.contract import Score, check_comparable
from saddlepoint.experiment.build import load_data
from saddlepoint.experiment.evaluate import UncertaintySettings
from saddlepoint.experiment.run_config import load_run_config
from saddlepoint.extractor.classifier import Shipped
from saddlepoint.metric.frechet_distance import frechet_distance
from saddlepoint.run.folder import Run

CONF = Path(__file__).parents[2] / "conf"
FID = "fid_digits_900_train"
CHOSEN = "fid_digits_450_validation"


@pytest.fixture(scope="module")
def record(tmp_path_factory):
    fast = [f"optimizer.{player}.lr=2e-3" for player in ("generator", "discriminator")]
    between = [f"callback.{name}.images_between=6400" for name in ("evaluation", "snapshot", "checkpoint", "grid")]
    return run(tmp_path_factory.mktemp("runs"), *fast, *between, "images=19200")


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    return run(tmp_path_factory.mktemp("runs"), "seed=1", "images=6400", "evaluation.n=300", "evaluation.split=test")


def extracted(x):
    return Shipped("digits")(x).features


@pytest.fixture
def console():
    return Console(file=io.StringIO(), width=200)


def test_the_best_checkpoint_is_the_one_that_is_best_on_reals_and_samples_that_are_not_reported(record):
    rows = [row for row in record.rows() if CHOSEN in row]
    assert len(rows) == 4
    assert all(FID in row for row in rows)
    best = min(rows, key=lambda row: row[CHOSEN])
    checkpoint = torch.load(record.checkpoints / "best.ckpt", weights_only=True)
    assert checkpoint["saddlepoint"]["images"] == best["images"]
    saved = next(state["best"] for name, state in checkpoint["callbacks"].items() if name.startswith("Evaluation"))
    assert saved["value"] == best[CHOSEN]
    assert (saved["contract"]["split"], saved["contract"]["n_fake"]) == ("validation", 450)
    assert not any("validation" in key for key in record.summary["final"])
    assert record.summary["best"][FID] == {"value": best[FID], "images": best["images"]}  # of that checkpoint
    assert record.summary["chosen_by"]["value"] == best[CHOSEN]


def test_samples_that_select_are_not_those_that_are_reported(record):
    game = saddlepoint.load(record.folder)
    one, two = (Sampler(game, stream=stream)(3)[0] for stream in ("evaluation", "selection"))
    assert not torch.equal(one, two)
    assert torch.equal(one, game.sample(3))


def test_the_last_row_has_the_scores_of_both_extractors(record):
    final = {key: Score.from_dict(score) for key, score in record.summary["final"].items()}
    assert {score.contract.extractor for score in final.values()} == {"digits", "digits-b"}
    assert final[FID].contract.batch_norm == "running"
    assert "by the second extractor, digits-b: fid" in " ".join(record.said.split())


def test_every_snapshot_gives_its_measured_scores_again(record, console):
    result = evaluate(
        record.folder, "all", ["metric=[frechet_distance]", "evaluation.second_extractor=null"], console=console
    )
    measured = {str(row["images"]): row[FID] for row in record.rows() if FID in row}
    assert {images: scores[FID].value for images, scores in result.items()} == measured
    assert list(result) == ["0", "6400", "12800", "19200"]
    printed = console.file.getvalue()
    assert "every snapshot" in printed
    assert "held-out reals" in printed
    rows = [json.loads(line) for line in (record.folder / "evaluations.jsonl").read_text().splitlines()]
    assert [row["images"] for row in rows[-4:]] == [0, 6400, 12800, 19200]


def test_a_snapshot_is_selected_by_its_image_count(record, tmp_path, capsys):
    assert main(["sample", f"run={record.folder}", "at=6400", "n=4", f"to={tmp_path}/x.npz"]) == 0
    assert "6,400 images" in capsys.readouterr().err
    assert main(["sample", f"run={record.folder}", "at=6401", "n=4", f"to={tmp_path}/y.npz"]) == 1
    assert "no snapshot at 6401 images; there: 0, 6400" in capsys.readouterr().err


def test_resuming_from_an_earlier_checkpoint_drops_later_snapshots(tmp_path):
    record = run(tmp_path, "callback.snapshot.images_between=320", "metric=[]")
    (record.snapshots / "000009600.safetensors").write_bytes(b"of a future that has not been")
    record.update_summary(status="failed")
    (record.checkpoints / "last.ckpt").unlink()
    again = run(tmp_path, "callback.snapshot.images_between=320", "metric=[]")
    assert {int(path.stem) for path in again.snapshots.iterdir()} == {0, 320, 640, 960, 1280}


def test_a_broken_snapshot_is_named(record, tmp_path, capsys):
    copy = tmp_path / "copy"
    shutil.copytree(record.folder, copy)
    snapshot = copy / "snapshots" / "000006400.safetensors"
    snapshot.write_bytes(snapshot.read_bytes()[:300])
    assert main(["evaluate", f"run={copy}", "at=6400"]) == 1
    printed = capsys.readouterr().err
    assert "000006400.safetensors is not a snapshot or is damaged" in printed
    assert "Traceback" not in printed


def test_a_run_without_snapshots_is_reported(other, capsys, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(other.folder, copy)
    shutil.rmtree(copy / "snapshots")
    assert main(["evaluate", f"run={copy}", "at=all"]) == 1
    assert "has no snapshots" in capsys.readouterr().err


def test_a_folder_an_npz_and_a_zip_of_the_same_samples_give_one_score(record, tmp_path, console):
    x = load_data(load_run_config(Run(record.folder))).split("test").x[..., 0, :, :].numpy()
    location = tmp_path / "reals"
    location.mkdir()
    for i, image in enumerate(x):
        Image.fromarray(image).save(location / f"{i:04d}.png")
    np.savez(tmp_path / "reals.npz", arr_0=x)
    shutil.make_archive(str(tmp_path / "reals"), "zip", location)
    result = []
    for samples in (location, tmp_path / "reals.npz", tmp_path / "reals.zip"):
        ((_, scores),) = evaluate(samples=samples, overrides=["data=digits"], console=console).items()
        result.append({key: score.to_dict() for key, score in scores.items()})
    assert result[0] == result[1] == result[2]
    score = Score.from_dict(result[0]["fid_digits_450_train"])
    assert (score.contract.weights, score.contract.batch_norm, score.contract.n_fake) == ("none", "none", 450)
    assert score.value < 1


def test_samples_are_measured_by_the_protocol_of_a_given_run(record, tmp_path, console):
    assert main(["sample", f"run={record.folder}", "n=100", f"to={tmp_path}/x.npz"]) == 0
    ((_, scores),) = evaluate(record.folder, samples=tmp_path / "x.npz", console=console).items()
    assert scores["fid_digits_100_train"].contract.data == record.summary["final"][FID]["contract"]["data"]


def test_standard_errors_come_from_new_generations_and_the_reals(record, console):
    overrides = ["metric=[frechet_distance]", "evaluation.second_extractor=null"]
    evaluate(record.folder, overrides=overrides, console=console, uncertainty_settings=UncertaintySettings(groups=10))
    row = json.loads((record.folder / "evaluations.jsonl").read_text().splitlines()[-1])
    spread = row["uncertainty"][FID]
    assert row["uncertainty"]["care"] == {"generations": 5, "groups": 10}
    value = row["scores"][FID]["value"]
    assert 0 < spread["generations"] < 0.2 * value
    assert abs(spread["mean"] - value) < 5 * spread["generations"]
    assert 0 < spread["reals"] < 0.2 * value
    assert spread["fakes"] is None
    assert "± fresh generation" in console.file.getvalue()
    with pytest.raises(Mistake, match="at least 5"):
        evaluate(
            record.folder, overrides=overrides, console=console, uncertainty_settings=UncertaintySettings(generations=3)
        )


def test_standard_errors_of_stored_samples_come_from_both_sets(tmp_path, console, record):
    x = load_data(load_run_config(Run(record.folder))).split("test").x
    np.savez(tmp_path / "x.npz", arr_0=x)
    overrides = ["data=digits", "metric=[frechet_distance]", "evaluation.second_extractor=null"]
    evaluate(
        samples=tmp_path / "x.npz",
        overrides=overrides,
        console=console,
        uncertainty_settings=UncertaintySettings(groups=10),
    )
    printed = console.file.getvalue()
    assert "± other samples" in printed
    assert "± fresh generation" not in printed


def test_against_measures_one_factor_at_a_time(record, other, console):
    overrides = ["metric=[frechet_distance]"]
    steps = against(record.folder, other.folder, overrides, console=console)
    report = [name for name, _ in steps]
    assert report == [
        "a, by its own protocol",
        "a, n default -> 300",
        "a, split train -> test",
        "a, by the protocol of b",
        "b, by its own protocol",
    ]
    values = dict(steps)
    assert values[report[0]]["fid"] == record.summary["final"][FID]["value"]
    assert values[report[-1]]["fid"] == other.summary["final"]["fid_digits_300_test"]["value"]
    alone = evaluate(record.folder, overrides=[*overrides, "evaluation.n=300"], console=console)
    assert values[report[1]]["fid"] == alone["19200"]["fid_digits_300_train"].value
    printed = " ".join(console.file.getvalue().split())
    assert "their contracts differ in n_real (897, 450), n_fake (900, 300), split (train, test)" in printed
    remainder = values[report[-1]]["fid"] - values[report[-2]]["fid"]
    assert f"{remainder:+.4g}" in printed


def test_runs_of_one_protocol_have_no_protocol_factor(record, console):
    steps = against(record.folder, record.folder, ["metric=[frechet_distance]"], console=console)
    assert len(steps) == 2
    assert steps[0][1] == steps[1][1]
    assert "have the same contract" in console.file.getvalue()


def test_runs_of_different_data_are_refused(record, tmp_path, console):
    points = run(tmp_path, "data=gaussians", "images=64", "evaluation.n=64")
    with pytest.raises(Mistake, match="different data"):
        against(record.folder, points.folder, console=console)


def test_scores_of_different_contracts_are_refused_with_the_field(record, other):
    ours = Score.from_dict(record.summary["final"][FID])
    user_module = Score.from_dict(other.summary["final"]["fid_digits_300_test"])
    check_comparable({"a": ours, "b": ours})
    with pytest.raises(Mistake, match=r"scores of a and b cannot be compared: n_real is 897 and 450"):
        check_comparable({"a": ours, "b": user_module})


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "nothing to measure"),
        (["samples=nowhere", "data=digits"], "samples=nowhere: no such folder"),
        (["samples=x.npz"], "add data=mnist"),
        (["against=b", "samples=x"], "run=<one> against=<the other>"),
        (["samples=nowhere", "data=digitz"], "digits"),
    ],
)
def test_bad_requests_give_one_line(words, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["evaluate", *words]) == 1
    printed = capsys.readouterr().err
    assert message in printed
    assert "Traceback" not in printed


def test_a_single_sample_has_no_score(tmp_path, capsys):
    np.savez(tmp_path / "x.npz", arr_0=np.zeros((1, 8, 8), dtype=np.uint8))
    assert main(["evaluate", f"samples={tmp_path / 'x.npz'}", "data=digits"]) == 1
    assert "1 samples, which cannot be measured" in capsys.readouterr().err


def test_scores_can_be_written_to_a_json(record, tmp_path):
    words = ["metric=[frechet_distance]", "evaluation.second_extractor=null", f"to={tmp_path}/scores.json"]
    assert main(["evaluate", f"run={record.folder}", *words]) == 0
    ((images, scores),) = json.loads((tmp_path / "scores.json").read_text()).items()
    assert images == "19200"
    assert scores[FID] == record.summary["final"][FID]


def test_a_setting_of_a_metric_is_a_factor(record, tmp_path, console):
    copy = tmp_path / "copy"
    shutil.copytree(record.folder, copy)
    config = (copy / "config.yaml").read_text()
    assert "    k: 5\n" in config
    (copy / "config.yaml").write_text(config.replace("    k: 5\n", "    k: 2\n"))
    steps = dict(against(record.folder, copy, console=console))
    assert steps["a, the metrics' settings"] == steps["b, by its own protocol"]
    assert steps["a, the metrics' settings"]["coverage"] != steps["a, by its own protocol"]["coverage"]


def test_averaged_and_raw_weights_are_a_factor(record, tmp_path, console):
    copy = tmp_path / "copy"
    shutil.copytree(record.folder, copy)
    config = (copy / "config.yaml").read_text()
    assert "  average: true\n" in config
    (copy / "config.yaml").write_text(config.replace("  average: true\n", "  average: false\n"))
    steps = dict(against(record.folder, copy, ["metric=[frechet_distance]"], console=console))
    assert steps["a, average True -> False"] == steps["b, by its own protocol"]


def test_a_per_class_score_does_not_depend_on_earlier_measurements(record, console, tmp_path, monkeypatch):
    monkeypatch.setenv("SADDLEPOINT_CACHE", str(tmp_path))
    words = ["metric=[class_frechet_distance,class_frequency,class_coverage]", "evaluation.second_extractor=null"]
    x = load_data(load_run_config(Run(record.folder))).split("train").x
    for n in (200, 800):
        np.savez(tmp_path / f"{n}.npz", arr_0=x[:n])

    def values(n):
        (scores,) = evaluate(samples=tmp_path / f"{n}.npz", overrides=["data=digits", *words], console=console).values()
        return {key: (score.value, str(score.detail)) for key, score in scores.items()}

    fresh = values(800)
    shutil.rmtree(tmp_path / "statistics")
    values(200)
    assert values(800) == fresh


def test_reporting_on_the_selection_split_gives_no_best_checkpoint(tmp_path):
    record = run(tmp_path, "evaluation.split=validation", "metric=[frechet_distance]")
    assert "no best checkpoint: validation is the reported split" in record.said
    assert record.summary["best"] == {}
    assert not (record.checkpoints / "best.ckpt").exists()


def test_an_untrained_generator_is_never_the_best(tmp_path):
    record = run(tmp_path, "data=gaussians", "images=1280")
    assert record.summary["chosen_by"]["images"] > 0
    assert (record.checkpoints / "best.ckpt").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["uncertainty=true", "generations=2"], "generations=2"),
        (["uncertainty=true", "groups=1"], "groups=1"),
        (["uncertainty=true", "at=all"], "needs one checkpoint or snapshot"),
        (["to=/nowhere/x.json"], "to=/nowhere/x.json"),
        (["to=x.txt"], "ends in .json"),
        (["against=b", "to=x.json"], "leave out to"),
        (["metric=[gan_train]"], "nothing was measured"),
    ],
)
def test_invalid_requests_are_refused_before_the_work(record, words, message, capsys):
    before = (record.folder / "evaluations.jsonl").read_text() if (record.folder / "evaluations.jsonl").exists() else ""
    assert main(["evaluate", f"run={record.folder}", *words]) == 1
    printed = capsys.readouterr().err
    assert message in printed
    assert "Traceback" not in printed
    after = (record.folder / "evaluations.jsonl").read_text() if (record.folder / "evaluations.jsonl").exists() else ""
    assert before == after


def test_a_metric_that_reads_the_samples_is_measured_once_and_not_by_the_second_extractor(tmp_path):
    metrics = "metric=[frechet_distance,parzen,nearest_neighbour_error]"
    record = run(tmp_path, metrics, "evaluation.n=100", "metric.parzen.centroids=0")
    final = ["fid_digits-b_100_train", "fid_digits_100_train", "parzen_digits_100_train"]
    assert sorted(record.summary["final"]) == final
    x = load_data(load_run_config(Run(record.folder))).split("test")
    np.savez(tmp_path / "x.npz", arr_0=x.x[:200], y=x.y[:200])
    quiet = Console(file=io.StringIO())
    ((_, result),) = evaluate(samples=tmp_path / "x.npz", overrides=["data=digits", metrics], console=quiet).items()
    names = [score.contract.metric for score in result.values()]
    assert sorted(names) == ["fid", "fid", "nearest_neighbour_error", "parzen"]
    words = ["metric=[parzen]", "metric.parzen.centroids=0", "data=digits", "evaluation.second_extractor=trained"]
    ((_, result),) = evaluate(samples=tmp_path / "x.npz", overrides=words, console=quiet).items()
    assert list(result) == ["parzen_digits_200_train"]  # no other classifier is trained for nothing


def test_every_metric_declares_whether_it_needs_an_extractor():
    pieces = [next(iter(OmegaConf.load(path).values())) for path in (CONF / "metric").glob("*.yaml")]
    metrics = {piece._target_.split(".")[-2]: locate(piece._target_) for piece in pieces}
    alone = {name for name, metric in metrics.items() if not metric.needs_features}
    images = {"parzen", "modes", "nearest_neighbour_error", "gan_train", "gan_test", "authenticity", "paired"}
    images |= {"augmentation_accuracy", "fairness_discrepancy"}
    text, sound = {"bleu", "exact_match", "language_model", "nll_oracle"}, {"mel_distance", "speaker_coverage"}
    assert alone == images | text | sound


def test_a_run_is_measured_against_all_of_its_data(record, console):
    (result,) = evaluate(
        record.folder, overrides=["evaluation.split=all", "evaluation.n=900"], console=console
    ).values()
    score = result["fid_digits_900_all"]
    assert (score.contract.split, score.contract.n_real) == ("all", 1797)
    assert score.contract.data == load_data(load_run_config(Run(record.folder))).split("all").sha256
    printed = console.file.getvalue()
    assert "evaluation.split=all holds nothing out: no anchor of held-out reals" in printed
    assert "10 memorised" in printed
    assert "held-out reals\n" not in printed
    (scores,) = evaluate(record.folder, overrides=["evaluation.split=all"], console=console).values()
    assert "fid_digits_1797_all" in scores  # as many fakes as reals


def test_a_folder_is_measured_against_all_of_another(tmp_path, console):
    x = load_data(compose(["data=digits"])).split("train").x
    for name, images in (("a", x[:60]), ("b", x[60:120])):
        (tmp_path / name).mkdir()
        for i, image in enumerate(images):
            Image.fromarray(image[0].numpy()).save(tmp_path / name / f"{i:02}.png")
    words = ["data=image_folder", f"data.folder={tmp_path}/b", "data.channels=1", "evaluation.extractor=digits"]
    words += ["metric=[frechet_distance]", "evaluation.second_extractor=null"]
    result = {}
    for cut in ("0.1", "0.3"):
        overrides = [*words, "evaluation.split=all", f"data.test={cut}"]
        (result[cut],) = evaluate(samples=tmp_path / "a", overrides=overrides, console=console).values()
    score = result["0.1"]["fid_digits_60_all"]
    assert score.contract.n_real == 60
    assert result["0.3"] == result["0.1"]
    features = [extracted(images).to(torch.float64) for images in (x[60:120], x[:60])]
    moments = [(f.mean(0), f.T.cov()) for f in features]
    assert score.value == pytest.approx(frechet_distance(*moments[0], *moments[1]).item(), rel=1e-6)


def test_reporting_on_all_gives_no_best_checkpoint(tmp_path, capsys):
    record = run(tmp_path, "evaluation.split=all", "evaluation.n=100", "metric=[frechet_distance]")
    assert "no best checkpoint: evaluation.split=all includes validation" in record.said
    assert not (record.checkpoints / "best.ckpt").exists()
    assert main(["train", "evaluation.selection.split=all", f"outputs={tmp_path}/x"]) == 1
    assert "evaluation.selection.split" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()


def test_standard_errors_are_in_the_json(record, tmp_path):
    np.savez(tmp_path / "x.npz", arr_0=load_data(load_run_config(Run(record.folder))).split("test").x)
    words = [
        "data=digits",
        "metric=[frechet_distance,inception_score]",
        "evaluation.second_extractor=null",
        "uncertainty=true",
    ]
    assert main(["evaluate", f"samples={tmp_path}/x.npz", *words, "groups=5", f"to={tmp_path}/x.json"]) == 0
    ((_, scores),) = json.loads((tmp_path / "x.json").read_text()).items()
    fid, score = scores["fid_digits_450_train"], scores["inception_score_digits_450_train"]
    assert fid["uncertainty"]["reals"] > 0
    assert fid["uncertainty"]["fakes"] > 0
    assert score["uncertainty"]["reals"] is None  # it knows no reals


def test_samples_without_one_class_score_as_the_same_images_in_an_npz(tmp_path):
    test = load_data(saddlepoint.compose(["data=digits"])).split("test")
    x, y = test[torch.nonzero(test.y != 0)[:, 0]]
    np.savez(tmp_path / "samples.npz", arr_0=x[:, 0].numpy(), y=y.numpy())
    for i, (image, label) in enumerate(zip(x, y.tolist(), strict=True)):
        (tmp_path / "folders" / str(label)).mkdir(parents=True, exist_ok=True)
        Image.fromarray(image[0].numpy()).save(tmp_path / "folders" / str(label) / f"{i}.png")
    words = ["data=digits", "metric=[gan_test]", "evaluation.second_extractor=null", "device=cpu"]
    by_folder, by_array = (
        {
            key: score.value
            for scores in evaluate(samples=location, overrides=words).values()
            for key, score in scores.items()
        }
        for location in (tmp_path / "folders", tmp_path / "samples.npz")
    )
    assert by_folder == by_array
    assert min(by_array.values()) > 0.9, "real images are recognised"
