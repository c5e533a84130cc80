"""Precedence of W&B settings: the command line, the environment, wandb/settings, then our defaults."""

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

DEFAULTS = {"name": "ours/seed0", "group": "ours", "job_type": "train", "tags": ["digits", "mlp"], "id": "abc"}
EXPECTED = {"project": "saddlepoint", "entity": None, "name": "ours/seed0", "group": "ours", "job_type": "train"}
SETTINGS = {"project": "P", "entity": "E", "name": "N", "group": "G", "job_type": "J"}


@pytest.fixture(autouse=True)
def user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Remove all W&B settings of the user; returns the parent of the working directory."""
    for variable, _ in USER_SETTINGS.values():
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.delenv("WANDB_DIR", raising=False)
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path / "home"))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path


@pytest.fixture
def start_arguments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Return a function that gives the arguments of wandb.init for a session with some settings."""

    def start(**settings) -> dict:
        arguments: dict = {}
        monkeypatch.setattr("wandb.init", lambda **keywords: arguments.update(keywords))
        WandbSession("offline", **settings).start_run(tmp_path, {}, DEFAULTS, print)
        return arguments

    return start


def settings(folder: Path, **values: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    lines = "".join(f"{USER_SETTINGS[key][1]} = {value}\n" for key, value in values.items())
    (folder / "settings").write_text(f"[default]\n{lines}")


def test_without_user_settings_the_defaults_and_component_tags_are_used(start_arguments) -> None:
    arguments = start_arguments()
    assert {key: arguments[key] for key in EXPECTED} == EXPECTED
    assert (arguments["tags"], arguments["id"]) == (["digits", "mlp"], "abc")


@pytest.mark.parametrize("key", SETTINGS)
def test_each_setting_is_read_from_each_source_in_order_of_precedence(
    start_arguments, user: Path, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    settings(user / "home", **{key: "of the user"})
    assert start_arguments()[key] == "of the user"
    settings(user / "here" / "wandb", **{key: "of this folder"})
    assert start_arguments()[key] == "of this folder"
    monkeypatch.setenv(USER_SETTINGS[key][0], "of the environment")
    assert start_arguments()[key] == "of the environment"
    assert start_arguments(**{key: "said"})[key] == "said"
    others = {name: value for name, value in EXPECTED.items() if name != key}
    assert {name: start_arguments()[name] for name in others} == others


def test_tags_of_the_environment_are_added_to_the_component_tags(
    start_arguments, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_TAGS", "first, second")
    assert start_arguments()["tags"] == ["first", "second", "digits", "mlp"]
    assert start_arguments(tags=("said",))["tags"] == ["said", "digits", "mlp"]


def test_the_yaml_of_the_logger_sets_nothing_that_the_environment_could_set(monkeypatch: pytest.MonkeyPatch) -> None:
    from saddlepoint.config.instantiate import instantiate

    monkeypatch.setenv("WANDB_PROJECT", "theirs")
    tracker = instantiate(compose([]).logger, "logger")
    assert isinstance(tracker, Tracker)
    assert all(getattr(tracker.session, key) is None for key in SETTINGS)


def test_many_runs_take_group_and_tags_of_the_environment_before_those_of_the_command(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("WANDB_RUN_GROUP", "theirs")
    monkeypatch.setenv("WANDB_TAGS", "paper")
    logger = build_configs(["seed=0,1"])[0][1].logger
    assert (logger.group, logger.tags) == ("theirs", ["paper", "seed=0"])
    assert build_configs(["seed=0,1", "logger.group=mine"])[0][1].logger.group == "mine"


@pytest.mark.parametrize(
    ("value", "mode"), [("offline", "offline"), ("dryrun", "offline"), ("disabled", "disabled"), ("run", "online")]
)
def test_a_mode_is_read_from_the_environment_and_from_the_settings_file(
    user: Path, monkeypatch: pytest.MonkeyPatch, value: str, mode: str
) -> None:
    settings(user / "here" / "wandb", mode=value)
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    assert WandbSession().resolved_mode == mode
    monkeypatch.setenv("WANDB_MODE", "online")
    assert WandbSession().resolved_mode == "online"
    assert WandbSession("offline").resolved_mode == "offline"


def test_a_wrong_mode_is_refused_before_anything_is_built(
    user: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WANDB_MODE", "ofline")
    for arguments in (["train"], ["train", "-m", "seed=0,1"]):
        assert main([*arguments, f"outputs={user / 'out'}"]) == 1
        message = capsys.readouterr().err.strip().splitlines()[-1]
        assert message.endswith(
            "WANDB_MODE=ofline: choose one of online, offline, disabled. Did you mean offline or online?"
        ), message
    assert not (user / "out").exists()
    check(compose(["logger=none"]))
    monkeypatch.delenv("WANDB_MODE")
    settings(user / "here" / "wandb", mode="nowhere")
    with pytest.raises(Mistake, match=r"settings: mode=nowhere: choose one of online, offline, disabled"):
        check(compose([]))


def test_an_unreadable_settings_file_is_ignored(user: Path, start_arguments) -> None:
    (user / "home").mkdir()
    for content in (b"\xff\xfe", b"no section", b"[default]\nproject"):
        (user / "home" / "settings").write_bytes(content)
        assert start_arguments()["project"] == "saddlepoint"


def test_an_api_key_is_searched_for_the_server_of_the_settings_file(
    user: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    (user / "netrc").write_text("machine wandb.example.org login user password " + "0" * 40)
    monkeypatch.setenv("NETRC", str(user / "netrc"))
    assert WandbSession().resolved_mode == "offline"
    settings(user / "home", base_url="https://wandb.example.org")
    assert WandbSession().resolved_mode == "online"


def test_a_run_is_tagged_by_its_components_and_its_job_type_is_train(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    defaults: dict = {}
    monkeypatch.setattr(WandbSession, "start_run", lambda self, folder, config, about, log: defaults.update(about))
    config = {"choice": {"data": "digits", "architecture": "mlp", "objective": "hinge", "regularizer": ["r1", "r2"]}}
    tracker = Tracker("offline")
    (tmp_path / "name" / "seed3").mkdir(parents=True)
    tracker.start(Run(tmp_path / "name" / "seed3"), config, print)
    tracker.close({}, None, failed=False)
    assert defaults["tags"] == ["digits", "mlp", "hinge", "r1", "r2"]
    assert (defaults["job_type"], defaults["group"], defaults["name"]) == ("train", "name", "name/seed3")
