"""W&B as its user has set it: the command line, then the environment, then wandb/settings, then our defaults."""

from pathlib import Path

import pytest

from saddlepoint.cli import main
from saddlepoint.config.check import check
from saddlepoint.config.compose import compose
from saddlepoint.error import Mistake
from saddlepoint.multirun.multirun import build_configs
from saddlepoint.run.folder import Run
from saddlepoint.run.tracking.tracker import Tracker
from saddlepoint.run.tracking.wandb_session import USER_SETTINGS, WandbSession

ABOUT = {"name": "ours/seed0", "group": "ours", "job_type": "train", "tags": ["digits", "mlp"], "id": "abc"}
OURS = {"project": "saddlepoint", "entity": None, "name": "ours/seed0", "group": "ours", "job_type": "train"}
SAID = {"project": "P", "entity": "E", "name": "N", "group": "G", "job_type": "J"}


@pytest.fixture(autouse=True)
def user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user of W&B who has set nothing; the folder that they stand in."""
    for variable, _ in USER_SETTINGS.values():
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.delenv("WANDB_DIR", raising=False)
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path / "home"))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path


@pytest.fixture
def begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """What W&B is told by a session with these settings."""

    def told(**settings) -> dict:
        found: dict = {}
        monkeypatch.setattr("wandb.init", lambda **words: found.update(words))
        WandbSession("offline", **settings).start_run(tmp_path, {}, ABOUT, print)
        return found

    return told


def settings(folder: Path, **values: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    lines = "".join(f"{USER_SETTINGS[key][1]} = {value}\n" for key, value in values.items())
    (folder / "settings").write_text(f"[default]\n{lines}")


def test_who_has_set_nothing_gets_our_defaults_and_the_tags_of_the_pieces(begun) -> None:
    told = begun()
    assert {key: told[key] for key in OURS} == OURS
    assert (told["tags"], told["id"]) == (["digits", "mlp"], "abc")


@pytest.mark.parametrize("key", SAID)
def test_each_setting_is_heard_from_each_place_and_the_nearer_one_counts(
    begun, user: Path, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    settings(user / "home", **{key: "of the user"})
    assert begun()[key] == "of the user"
    settings(user / "here" / "wandb", **{key: "of this folder"})
    assert begun()[key] == "of this folder"
    monkeypatch.setenv(USER_SETTINGS[key][0], "of the environment")
    assert begun()[key] == "of the environment"
    assert begun(**{key: "said"})[key] == "said"
    rest = {name: value for name, value in OURS.items() if name != key}
    assert {name: begun()[name] for name in rest} == rest


def test_tags_of_the_environment_stand_beside_those_of_the_pieces(begun, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_TAGS", "first, second")
    assert begun()["tags"] == ["first", "second", "digits", "mlp"]
    assert begun(tags=("said",))["tags"] == ["said", "digits", "mlp"]


def test_the_yaml_of_the_logger_says_nothing_that_the_environment_could_not(monkeypatch: pytest.MonkeyPatch) -> None:
    from saddlepoint.config.instantiate import instantiate

    monkeypatch.setenv("WANDB_PROJECT", "theirs")
    tracker = instantiate(compose([]).logger, "logger")
    assert isinstance(tracker, Tracker)
    assert all(getattr(tracker.session, key) is None for key in SAID)


def test_many_runs_take_group_and_tags_of_the_environment_before_those_of_the_command(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("WANDB_RUN_GROUP", "theirs")
    monkeypatch.setenv("WANDB_TAGS", "paper")
    logger = build_configs(["seed=0,1"])[0][1].logger
    assert (logger.group, logger.tags) == ("theirs", ["paper", "seed=0"])
    assert build_configs(["seed=0,1", "logger.group=mine"])[0][1].logger.group == "mine"


@pytest.mark.parametrize(
    ("said", "mode"), [("offline", "offline"), ("dryrun", "offline"), ("disabled", "disabled"), ("run", "online")]
)
def test_a_mode_is_heard_from_the_environment_and_from_the_settings_file(
    user: Path, monkeypatch: pytest.MonkeyPatch, said: str, mode: str
) -> None:
    settings(user / "here" / "wandb", mode=said)
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    assert WandbSession().resolved_mode == mode
    monkeypatch.setenv("WANDB_MODE", "online")
    assert WandbSession().resolved_mode == "online"
    assert WandbSession("offline").resolved_mode == "offline"


def test_a_wrong_mode_is_told_by_name_before_anything_is_built(
    user: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WANDB_MODE", "ofline")
    for words in (["train"], ["train", "-m", "seed=0,1"]):
        assert main([*words, f"outputs={user / 'out'}"]) == 1
        said = capsys.readouterr().err.strip().splitlines()[-1]
        assert said.endswith(
            "WANDB_MODE=ofline: it can be online, offline, disabled. Did you mean offline or online?"
        ), said
    assert not (user / "out").exists()
    check(compose(["logger=none"]))
    monkeypatch.delenv("WANDB_MODE")
    settings(user / "here" / "wandb", mode="nowhere")
    with pytest.raises(Mistake, match=r"settings: mode=nowhere: it can be online, offline, disabled"):
        check(compose([]))


def test_a_settings_file_that_cannot_be_read_is_as_none(user: Path, begun) -> None:
    (user / "home").mkdir()
    for content in (b"\xff\xfe", b"no section", b"[default]\nproject"):
        (user / "home" / "settings").write_bytes(content)
        assert begun()["project"] == "saddlepoint"


def test_a_key_is_looked_for_at_the_server_of_the_settings_file(user: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    (user / "netrc").write_text("machine wandb.example.org login user password " + "0" * 40)
    monkeypatch.setenv("NETRC", str(user / "netrc"))
    assert WandbSession().resolved_mode == "offline"
    settings(user / "home", base_url="https://wandb.example.org")
    assert WandbSession().resolved_mode == "online"


def test_a_run_is_tagged_by_its_pieces_and_its_job_is_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: dict = {}
    monkeypatch.setattr(WandbSession, "begun", lambda self, folder, config, about, say: told.update(about))
    config = {"choice": {"data": "digits", "architecture": "mlp", "objective": "hinge", "regularizer": ["r1", "r2"]}}
    tracker = Tracker("offline")
    (tmp_path / "name" / "seed3").mkdir(parents=True)
    tracker.start(Run(tmp_path / "name" / "seed3"), config, print)
    tracker.close({}, None, failed=False)
    assert told["tags"] == ["digits", "mlp", "hinge", "r1", "r2"]
    assert (told["job_type"], told["group"], told["name"]) == ("train", "name", "name/seed3")
