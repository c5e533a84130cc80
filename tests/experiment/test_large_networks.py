"""benchmarks/large_networks.py on a CPU: each experiment trains, is stopped by a signal, resumes, and is scored."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import SimpleNamespace

import pytest

from saddlepoint.config import catalogue


def script(checkout: Path):
    spec = importlib.util.spec_from_file_location("large_networks", checkout / "benchmarks" / "large_networks.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def check_printed(printed: str, name: str) -> None:
    assert re.search(rf"^{name}: [\d,.]+ images/s, peak [\d,]+ MiB, ", printed, re.M)
    assert len(re.findall(r"^    fid_cifar10-jpeg_20_train at [\d,]+ images: \d", printed, re.M)) >= 2
    assert "resumed at {'images': 44, 'rounds': 11, " in printed
    assert "the same" in printed


def test_one_experiment_runs_stops_and_resumes_without_any_data_set(checkout, monkeypatch, tmp_path, capsys) -> None:
    monkeypatch.setenv("SADDLEPOINT_DATA", str(tmp_path))
    assert script(checkout).main(["--smoke", "--experiments", "cifar10_wgan_gp"]) == 0
    check_printed(capsys.readouterr().out, "cifar10_wgan_gp")


@pytest.mark.slow  # every experiment twice
def test_all_experiments_run_stop_and_resume(checkout, monkeypatch, tmp_path, capsys) -> None:
    monkeypatch.setenv("SADDLEPOINT_DATA", str(tmp_path))
    module = script(checkout)
    assert module.main(["--smoke"]) == 0
    printed = capsys.readouterr().out
    for name in module.EXPERIMENTS:
        (part,) = re.findall(rf"^{name}: .*\n(?: .*\n)+", printed, re.M)
        check_printed(part, name)


@pytest.mark.parametrize(
    ("resumed", "ended", "code"),
    [
        ({"images": 8, "weights": 1.0}, {"images": 16, "finite": True}, 0),
        ({"images": 8, "weights": 1.5}, {"images": 16, "finite": True}, 1),
        ({"images": 0, "weights": 0.0}, {"images": 8, "finite": True}, 1),
        ({"images": 8, "weights": 1.0}, {"images": 16, "finite": False}, 1),
    ],
)
def test_a_resume_at_another_state_or_an_end_with_nan_is_a_failure(checkout, monkeypatch, resumed, ended, code) -> None:
    module = script(checkout)
    first, second = (
        SimpleNamespace(images_per_second=1.0, start_state=start, end_state=end)
        for start, end in [({}, {"images": 8, "weights": 1.0}), (resumed, ended)]
    )
    parts = iter([(first, None), (second, SimpleNamespace(rows=list, summary={"peak_memory_mib": 1.0}))])
    monkeypatch.setattr(module, "train_until", lambda end, overrides: next(parts))
    assert module.main(["--smoke", "--experiments", "cifar10_wgan_gp"]) == code


def test_the_script_lists_experiments_of_the_catalogue(checkout) -> None:
    assert set(script(checkout).EXPERIMENTS) <= set(catalogue.option_names("experiment"))
