"""A setting that changes a score by more than rounding changes its contract: every setting of an evaluation is tried.

One run has everything that a setting could affect: a prior of two parts, a class-conditional generator with batch norm,
an average, and a score by every metric for images.
"""

from __future__ import annotations

import io
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from evaluated import against, evaluate
from omegaconf import OmegaConf
from rich.console import Console
from runs import run

from saddlepoint.callback.evaluation import Sampler, sampling_contract
from saddlepoint.config import catalogue
from saddlepoint.evaluation.contract import Contract, Score, check_comparable, first_differing_field
from saddlepoint.experiment.build import build_game
from saddlepoint.experiment.evaluate import Measurer
from saddlepoint.experiment.restore import restore_checkpoint
from saddlepoint.experiment.run_config import load_run_config
from saddlepoint.experiment.sample import draw_samples
from saddlepoint.stream import Stream

CONF = Path(__file__).parents[2] / "conf"
BATCH_NORM = "architecture.generator.norm={_target_: torch.nn.BatchNorm1d, _partial_: true}"
RUN = [
    "game=conditional", "prior=[uniform,categorical]", "architecture.generator._target_=conditional.Generator",
    BATCH_NORM, "allow_target=[conditional]", "evaluation.n=300", "optimizer.generator.lr=5e-3",
]  # fmt: skip
STATISTICS = "game.players.generator.average.statistics"

# another value of each setting of each metric
METRICS = {
    "frechet_distance": {},
    "frechet_distance_infinity": {"points": 5, "least": 100, "seed": 1},
    "kernel_distance": {"subsets": 9, "subset_size": 50, "seed": 1},
    "inception_score": {"splits": 3},
    "precision": {"k": 1, "seed": 1},
    "recall": {"k": 1, "seed": 1},
    "density": {"k": 1, "seed": 1},
    "coverage": {"k": 1, "seed": 1},
    "class_agreement": {},
    "class_frequency": {"least": 35, "draws": 30, "seed": 1},
    "class_modes": {"against": "data"},
    "class_coverage": {"k": 1, "n_per_class": 12, "share": 0.4, "least": 14, "labels": "given", "draws": 5, "seed": 1},
    "class_frechet_distance": {"n_per_class": 12, "share": 0.4, "least": 14, "labels": "given", "draws": 5, "seed": 1},
    "authenticity": {},
    "parzen": {"sigmas": 3, "low": 0.3, "high": 0.7, "validation": 50, "test": 50, "centroids": 9},
    "nearest_neighbour_error": {"split": "validation", "seed": 1},
    "gan_test": {"epochs": 2, "seed": 1},
    "gan_train": {"epochs": 2, "seed": 1},
}
POINTS = {"modes"}  # of data that know their modes
OF_PAIRS = {"paired", "permuted_class_agreement"}  # of games from image to image: tests of the same names
OF_TEXT = {"bleu", "exact_match", "language_model", "nll_oracle"}  # tests/metric/test_text_metrics.py
OF_FEW_LABELS, OF_COLOURS = {"augmentation_accuracy"}, {"fairness_discrepancy"}  # tests of the same names
OF_SOUND = {"mel_distance", "speaker_coverage"}  # tests/metric/test_mel_distance.py, test_speaker_coverage.py
BEFORE = [
    f"metric=[{','.join(METRICS)}]", "metric.kid.subset_size=100", "metric.class_coverage.least=10",
    "metric.class_fid.least=10", "metric.gan_train.epochs=1", "metric.gan_test.epochs=1",
    "evaluation.second_extractor=null",
]  # fmt: skip

# overrides of an evaluation; those in MOVING are known to change a score, so that the test is not vacuous
MOVING = (
    ["evaluation.n=200"],
    ["evaluation.split=test"],
    ["evaluation.split=all"],
    ["evaluation.extractor=digits-b"],
    ["data.extractor=digits-b"],
    ["evaluation.average=false"],
    ["evaluation.batch_norm=batch"],
    [f"{STATISTICS}=reestimated"],
    ["prior.z.low=-0.5"],
)
STILL = (
    ["evaluation.batch=64"],
    ["evaluation.second_extractor=digits-b"],
    ["evaluation.seed=1"],
    ["evaluation.selection.n=50"],
    ["evaluation.selection.split=test"],
    ["game.players.generator.average.half_life=1"],
    ["trainer.precision=bf16-mixed"],
    ["compile=true"],
    ["batch=32"],
)
PAIRS = (  # one against the other
    (["evaluation.batch_norm=batch", "evaluation.batch=300"], ["evaluation.batch_norm=batch", "evaluation.batch=50"]),
    (["evaluation.extractor=mnist", "evaluation.resizer=bilinear"],
     ["evaluation.extractor=mnist", "evaluation.resizer=bicubic-antialias"]),
)  # fmt: skip
ELSEWHERE = {"evaluation.weights"}  # a file of Inception's weights; their sha256 is in the contract (test_inception)

Scores = dict[str, Score]  # by metric


@pytest.fixture(scope="module")
def record(tmp_path_factory):
    return run(tmp_path_factory.mktemp("runs"), *RUN)


@pytest.fixture(scope="module")
def measured(record):
    """Return a function that measures the run under some overrides; it returns scores by metric."""
    patch, cached = pytest.MonkeyPatch(), {}
    patch.setattr(Measurer, "anchors", lambda self: {})  # which take most of the time

    def scores(*overrides: str) -> Scores:
        if overrides not in cached:
            console = Console(file=io.StringIO())
            arguments = [*BEFORE, *overrides, "allow_target=[conditional]"]
            (result,) = evaluate(record.folder, overrides=arguments, console=console).values()
            cached[overrides] = {f"{s.contract.metric}, {s.contract.extractor}": s for s in result.values()}
        return cached[overrides]

    yield scores
    patch.undo()


def changed_metrics(one: Scores, other: Scores) -> set[str]:
    """Return the metrics whose scores differ by more than rounding, and check that their contracts differ."""
    changed = {
        name for name in one.keys() & other.keys()
        if one[name].value != pytest.approx(other[name].value, rel=1e-3, abs=4e-3)
    }  # fmt: skip
    unnoticed = {name for name in changed if first_differing_field(one[name].contract, other[name].contract) is None}
    assert not unnoticed, {name: (one[name].value, other[name].value) for name in unnoticed}
    return changed


@pytest.mark.parametrize("overrides", MOVING, ids=" ".join)
def test_a_setting_that_changes_a_score_changes_its_contract(measured, overrides):
    one, other = measured(), measured(*overrides)
    if one.keys() & other.keys():
        assert changed_metrics(one, other)
    else:  # another extractor, which is part of the name of a score
        assert "extractor" in overrides[0]


@pytest.mark.parametrize("overrides", STILL, ids=" ".join)
def test_a_setting_that_keeps_a_contract_keeps_the_score(measured, overrides):
    assert not changed_metrics(measured(), measured(*overrides))


@pytest.mark.parametrize(("one", "other"), PAIRS)
def test_settings_that_act_only_together_change_the_contract(measured, one, other):
    assert changed_metrics(measured(*one), measured(*other))


def test_every_setting_of_an_evaluation_is_tested():
    overrides = (*MOVING, *STILL, *(arguments for pair in PAIRS for arguments in pair))
    tried = {".".join(override.partition("=")[0].split(".")[:2]) for arguments in overrides for override in arguments}
    cached = {key for key in catalogue.command_keys("train") if key.startswith("evaluation.")}
    assert cached == {key for key in tried if key.startswith("evaluation.")} | ELSEWHERE


@pytest.mark.parametrize("index", range(max(map(len, METRICS.values()))))
def test_a_setting_of_a_metric_that_changes_its_score_changes_its_contract(measured, index):
    overrides = []
    for piece, settings in METRICS.items():
        ((name, default),) = OmegaConf.load(CONF / "metric" / f"{piece}.yaml").items()
        assert set(settings) == set(default) - {"_target_"}, piece
        overrides += [f"metric.{name}.{key}={value}" for key, value in list(settings.items())[index : index + 1]]
    changed = changed_metrics(measured(), measured(*overrides))
    assert changed or index > 2
    elsewhere = POINTS | OF_PAIRS | OF_TEXT | OF_SOUND | OF_FEW_LABELS | OF_COLOURS
    assert set(METRICS) | elsewhere == {path.stem for path in (CONF / "metric").glob("*.yaml")}


def test_stored_samples_have_the_scores_of_the_generator(record, measured, tmp_path):
    game = load_allowed(record)
    x, y = Sampler(game)(300)
    x = ((x + 1) * 127.5).round().to(torch.uint8)
    np.savez(tmp_path / "x.npz", arr_0=x.numpy(), y=y.numpy())
    arguments = [*BEFORE, "data=digits"]
    (scores,) = evaluate(samples=tmp_path / "x.npz", overrides=arguments, console=Console(file=io.StringIO())).values()
    stored_scores = {f"{s.contract.metric}, {s.contract.extractor}": s for s in scores.values()}
    # a stored set is sorted by content, which changes the metrics that draw subsets of the fakes
    still = [f"{name}, digits" for name in ("fid", "precision", "recall", "coverage", "parzen", "gan_test")]
    assert {name: stored_scores[name].value for name in still} == pytest.approx(
        {name: measured()[name].value for name in still}, rel=1e-3, abs=4e-3
    )
    assert all(stored_scores[name].contract.weights == "none" for name in still)


# ------------------------------------------------------------------------------------------------------------ the draws


def load_allowed(record):
    game = build_game(load_run_config(record, ["allow_target=[conditional]"]))
    restore_checkpoint(game, record)
    return game


@pytest.mark.parametrize("cuts", [(40,), (1, 39), (17, 3, 20)])
def test_samples_and_their_classes_do_not_depend_on_the_batch_size(record, cuts):
    game = load_allowed(record)
    expected, labels = Sampler(game)(40)
    draw = Sampler(game)
    parts = [draw(n) for n in cuts]
    assert torch.equal(torch.cat([y for _, y in parts]), labels)
    torch.testing.assert_close(torch.cat([x for x, _ in parts]), expected)
    stream = Stream(0, "mine")  # the stream of a grid or a notebook
    chunks = [game.sample(n, stream=stream) for n in cuts]
    torch.testing.assert_close(torch.cat(chunks), game.sample(40, stream=Stream(0, "mine")))
    first = draw_samples(game, sum(cuts), batch=cuts[0])
    assert (first.int() - draw_samples(game, 45)[:40].int()).abs().max() <= 1


def test_a_rank_that_skips_samples_draws_the_next_ones_as_if_it_had_drawn_all(record):
    game = load_allowed(record)
    expected, labels = Sampler(game)(40)
    draw = Sampler(game)
    draw.skip(13)
    x, y = draw(27)
    assert torch.equal(y, labels[13:])
    torch.testing.assert_close(x, expected[13:])


def test_training_draws_all_parts_of_a_latent_from_one_stream(record):
    game = load_allowed(record)
    stream, plain = game.streams["latent"], Stream(0, "latent")
    stream.state = plain.state
    latent = game.prior.sample(5, stream)
    expected = -1 + 2 * plain.uniform(5, 100), plain.integers(10, 5)  # as since the first edition
    assert torch.equal(latent["z"], expected[0])
    assert torch.equal(latent["category"].argmax(1), expected[1])
    assert torch.equal(stream.state, plain.state)


# -------------------------------------------------------------------------------------------------------- the contracts


def test_a_contract_names_altered_settings_and_the_batch_norm_statistics(measured):
    assert measured()["fid, digits"].contract.batch_norm == "running"
    assert measured()["fid, digits"].contract.altered == ""
    assert measured(f"{STATISTICS}=reestimated")["fid, digits"].contract.batch_norm == "reestimated"
    assert measured("prior.z.low=-0.5")["fid, digits"].contract.altered == "prior.z.low: -1 -> -0.5"


def test_a_recorded_contract_without_newer_fields_equals_a_new_one(measured):
    now = measured()["fid, digits"]
    old = now.contract.to_dict()
    del old["altered"]
    then = Score(now.value, Contract(**old))
    check_comparable({"then": then, "now": now})
    assert Contract(**old) == now.contract


def sampling_fields(game, average, batch_norm):
    """Return the weights and the batch-norm statistics in the contract of samples drawn 500 at a time."""
    said = sampling_contract(game, average, batch_norm, 500)
    return said["weights"], said["batch_norm"]


def test_the_contract_names_the_statistics_that_samples_are_drawn_with(record):
    game = load_allowed(record)
    game.generator.average.statistics = "reestimated"
    assert sampling_fields(game, True, "running") == ("averaged", "reestimated")
    assert sampling_fields(game, False, "running") == ("raw", "running")
    assert sampling_fields(game, True, "batch") == ("averaged", "batch of 500")
    for module in game.generator.average.network.modules():
        if isinstance(module, torch.nn.BatchNorm1d):
            module.running_mean = module.running_var = None  # as with track_running_stats=false
    assert sampling_fields(game, True, "running") == ("averaged", "reestimated, batch of 500")


def test_the_statistics_of_the_average_are_a_factor_of_the_protocol(record, measured, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(record.folder, other)
    text = (other / "config.yaml").read_text()
    assert "statistics: averaged" in text
    (other / "config.yaml").write_text(text.replace("statistics: averaged", "statistics: reestimated"))
    arguments = ["metric=[frechet_distance]", "allow_target=[conditional]"]
    steps = dict(against(record.folder, other, arguments, console=Console(file=io.StringIO())))
    assert list(steps) == [
        "a, by its own protocol", "a, statistics of the average averaged -> reestimated", "b, by its own protocol"
    ]  # fmt: skip
    first, moved_by, last = (scores["fid"] for scores in steps.values())
    assert first != pytest.approx(moved_by, rel=1e-3)
    assert moved_by == pytest.approx(last)
    assert first == pytest.approx(measured()["fid, digits"].value)


def test_a_snapshot_keeps_the_statistics_of_its_average(tmp_path):
    arguments = [*RUN, f"{STATISTICS}=reestimated", "metric=[frechet_distance]", "evaluation.second_extractor=null"]
    folder = run(tmp_path, *arguments, "callback.snapshot.images_between=640").folder
    allow = "allow_target=[conditional]"

    def fid(*overrides, at=640):
        quiet = Console(file=io.StringIO())
        (scores,) = evaluate(folder, at, [*overrides, allow], console=quiet).values()
        return next(iter(scores.values()))

    default, averaged = fid(), fid(f"{STATISTICS}=averaged")
    assert default.contract.batch_norm == averaged.contract.batch_norm == "reestimated"
    assert default.value == pytest.approx(averaged.value)
    assert fid(at="last").contract.batch_norm == "reestimated"
