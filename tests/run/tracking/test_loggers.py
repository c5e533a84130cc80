"""The loggers of a config, the content of CSV and TensorBoard, and the logged images and animation of a run."""

import csv
import io
from importlib.util import find_spec
from pathlib import Path

import pytest
from omegaconf import OmegaConf
from PIL import Image
from rich.console import Console

from saddlepoint.callback.grid import MAX_FRAMES, save_png, write_animation
from saddlepoint.cli import multirun
from saddlepoint.config.check import check
from saddlepoint.config.compose import apply_overrides, compose
from saddlepoint.config.identity import compute_identity
from saddlepoint.error import Mistake
from saddlepoint.experiment.build import build_loggers
from saddlepoint.experiment.train import train
from saddlepoint.run.folder import Run
from saddlepoint.run.tracking import tensorboard_log
from saddlepoint.run.tracking.csv_log import CsvLog
from saddlepoint.run.tracking.tensorboard_log import TensorBoardLog
from saddlepoint.run.tracking.tracker import Tracker
from saddlepoint.run.tracking.wandb_log import load_wandb_run

TINY = ["data=gaussians", "data.number=500", "evaluation.extractor=null", "batch=64", "name=run", "threads=1",
        "architecture.generator.widths=[16]", "architecture.discriminator.widths=[16]",
        "callback=[finite,checkpoint,journal,grid]", "callback.journal.images_between=64",
        "callback.grid.images_between=64"]  # fmt: skip


def trained(folder: Path, *overrides: str) -> Run:
    return train(compose([*TINY, f"outputs={folder}", *overrides]), Console(file=io.StringIO()))


def kinds(*overrides: str) -> list[type]:
    config = compose([*overrides])
    check(config)
    return [type(logger) for logger in build_loggers(config)]


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ([], [Tracker]),
        (["logger=wandb"], [Tracker]),
        (["logger=none"], [Tracker]),
        (["logger=csv"], [CsvLog]),
        (["logger=[wandb,csv]"], [Tracker, CsvLog]),
        (["+logger=csv"], [Tracker, CsvLog]),
        (["logger=[none,csv]"], [Tracker, CsvLog]),
        (["logger=[]"], []),
    ],
)
def test_a_config_lists_its_loggers(overrides: list[str], expected: list[type]) -> None:
    assert kinds(*overrides) == expected


def test_the_keys_of_wandb_settings_are_the_same_with_another_logger() -> None:
    for overrides in (["logger.mode=online"], ["logger=[wandb,csv]", "logger.mode=online"]):
        config = compose(overrides)
        check(config)
        assert build_loggers(config)[0].session.mode == "online"
    assert build_loggers(compose(["logger=[none,csv]"]))[0].session.mode == "disabled"
    with pytest.raises(Mistake, match=r"logger.mdoe"):
        compose(["logger=[wandb,csv]", "logger.mdoe=online"])


def test_loggers_do_not_change_the_identity_of_a_run() -> None:
    each = [compose([f"logger={names}"]) for names in ("wandb", "none", "csv", "[wandb,csv]")]
    assert len({compute_identity(config) for config in each}) == len({config.name for config in each}) == 1


def test_a_run_from_before_several_loggers_can_get_another_one() -> None:
    old = compose([])
    OmegaConf.update(old, "choice.logger", "wandb", merge=False)
    assert [type(logger) for logger in build_loggers(apply_overrides(old, ["+logger=csv"]))] == [Tracker, CsvLog]
    assert [type(logger) for logger in build_loggers(apply_overrides(old, ["seed=1"]))] == [Tracker]


def test_the_csv_of_a_resumed_run_has_every_event_once(tmp_path: Path) -> None:
    trained(tmp_path, "logger=csv", "images=128")
    run = trained(tmp_path, "logger=csv", "images=256")
    with (run.folder / "csv" / "metrics.csv").open() as file:
        table = list(csv.DictReader(file))
    events = list(run.rows())
    assert [int(row["step"]) for row in table] == [event["images"] for event in events] == [64, 128, 192, 256]
    for row, event in zip(table, events, strict=True):
        assert {key: float(row[key]) for key in event if key not in ("images", "seconds")} == pytest.approx(
            {key: value for key, value in event.items() if key not in ("images", "seconds")}
        )


def test_a_run_without_events_names_no_csv_file(tmp_path: Path) -> None:
    logger = CsvLog()
    logger.start(Run(tmp_path), {}, print)
    assert logger.whereabouts == "CSV: no event was logged, so there is no table"
    logger.log_metrics({"a": 1.0}, 64)
    assert logger.whereabouts == f"CSV: {tmp_path / 'csv' / 'metrics.csv'}"


def test_missing_tensorboard_is_reported_with_the_command_to_install_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tensorboard_log, "find_spec", lambda name: None)
    with pytest.raises(Mistake, match=r"needs the package tensorboard: pip install 'saddlepoint\[tensorboard\]'"):
        train(compose(["logger=[wandb,tensorboard]", f"outputs={tmp_path / 'out'}"]))
    with pytest.raises(Mistake, match="needs the package tensorboard"):
        multirun.command(["logger=[wandb,tensorboard]", "seed=0,1", f"outputs={tmp_path / 'out'}"])
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(not any(map(find_spec, tensorboard_log.PACKAGES)), reason="no TensorBoard here")
def test_tensorboard_holds_scalars_and_pictures(tmp_path: Path) -> None:
    assert kinds("logger=[none,tensorboard]") == [Tracker, TensorBoardLog]
    run = trained(tmp_path, "logger=tensorboard", "images=128")
    (events,) = (run.folder / "tensorboard").glob("events*")
    content = events.read_bytes()
    assert b"discriminator/adversarial" in content
    assert b"samples" in content
    assert b"reals" in content


def test_reals_are_logged_with_the_first_samples_and_the_grids_become_an_animation(tmp_path: Path) -> None:
    run = trained(tmp_path, "logger.mode=offline", "images=192")
    pictures = sorted(path for path in run.samples.glob("*.png") if path.stem.isdigit())
    with Image.open(run.samples / "animation.gif") as moving:
        assert (moving.n_frames, moving.info["loop"]) == (len(pictures), 0)
        moving.seek(len(pictures) - 1)
        assert moving.info["duration"] == 1500
    wandb_run = load_wandb_run(run.folder)
    shown = [row for row in wandb_run.rows if "samples" in row]
    assert [row["images"] for row in shown] == [0, 64, 128, 192]
    assert ["reals" in row for row in shown] == [True, False, False, False]
    assert wandb_run.summary["animation"]["path"].endswith(".gif")


def test_an_animation_has_at_most_a_hundred_frames_including_the_first_and_the_last(tmp_path: Path) -> None:
    for i in range(250):
        save_png(Image.new("RGB", (4, 4), (i, 0, 0)), tmp_path / f"{i:09d}.png")
    with Image.open(write_animation(tmp_path) or "") as moving:
        assert moving.n_frames == MAX_FRAMES
        ends = []
        for frame in (0, MAX_FRAMES - 1):
            moving.seek(frame)
            ends.append(moving.convert("RGB").getpixel((0, 0))[0])
    assert ends == [0, 249]
    assert write_animation(tmp_path / "nothing") is None


def test_the_best_checkpoint_is_a_version_of_the_artifact_under_that_alias(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    logged: list[tuple[str, list[str]]] = []

    class Artifact:
        def __init__(self, name: str, type: str) -> None: ...  # noqa: A002  the name in the library

        def add_file(self, path: str) -> None:
            self.path = path

    class Online:
        offline = False

        def log_artifact(self, artifact: Artifact, aliases: list[str]) -> None:
            logged.append((Path(artifact.path).name, aliases))

    monkeypatch.setattr("wandb.Artifact", Artifact)
    tracker = Tracker("online")
    (tmp_path / "last.ckpt").write_text("")
    tracker._log_artifacts(Online(), tmp_path / "last.ckpt")
    assert logged == [("last.ckpt", ["latest"])]
    (tmp_path / "best.ckpt").write_text("")
    tracker._log_artifacts(Online(), tmp_path / "last.ckpt")
    assert logged[1:] == [("best.ckpt", ["best"]), ("last.ckpt", ["latest"])]
