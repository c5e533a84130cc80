"""The examination of a machine."""

from saddlepoint.command import main
from saddlepoint.command.compose import compose
from saddlepoint.command.doctor import examination


def findings(*overrides):
    return {finding.what: finding for finding in examination(compose(overrides, command="doctor"))}


def test_everything_that_a_run_may_need_is_looked_at(tmp_path):
    found = findings(f"outputs={tmp_path}")
    assert {"python", "packages", "cpu", "accelerators", "outputs", "cache", "digits", "mnist", "fashion_mnist",
            "classifiers", "inception", "W&B"} <= set(found)  # fmt: skip
    assert all(found[name].well for name in ("python", "packages", "outputs", "cache", "digits", "classifiers"))
    assert "train 897, validation 450, test 450" in found["digits"].state


def test_every_problem_has_its_remedy(tmp_path, monkeypatch):
    monkeypatch.setenv("SADDLEPOINT_DATA", str(tmp_path / "nowhere"))
    (tmp_path / "file").write_text("")
    found = findings(f"outputs={tmp_path / 'file' / 'x'}")
    assert not found["outputs"].well
    assert "outputs=" in found["outputs"].remedy
    assert not found["mnist"].well
    assert str(tmp_path / "nowhere") in found["mnist"].remedy
    assert "weights-inception-2015-12-05-6726825d.pth" in found["inception"].remedy
    assert all(finding.remedy for finding in found.values() if not finding.well)


def test_it_exits_0_where_training_can_begin_and_1_where_it_cannot(tmp_path, capsys):
    assert main(["doctor", f"outputs={tmp_path}"]) == 0
    (tmp_path / "file").write_text("")
    assert main(["doctor", f"outputs={tmp_path / 'file' / 'x'}"]) == 1
    assert "saddlepoint doctor" in capsys.readouterr().out
