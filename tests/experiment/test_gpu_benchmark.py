"""benchmarks/gpu.py on a CPU: every switch of a network is measured or says why not, and both precisions resume."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path

import pytest


@pytest.fixture
def script(checkout: Path, monkeypatch):
    monkeypatch.syspath_prepend(checkout / "benchmarks")
    spec = importlib.util.spec_from_file_location("gpu_benchmark", checkout / "benchmarks" / "gpu.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "CUDA", False)
    return module


def check(module, names: list[str], printed: str, path: Path) -> None:
    content = json.loads(path.read_text())
    rows = {(row["network"], row["switch"]): row for row in content["rows"]}
    assert set(rows) == {(name, switch) for name in names for switch in module.SWITCHES}
    for (_, switch), row in rows.items():
        if switch in ("graphed", "cudagraphs"):
            assert row["unavailable"] == "CUDA graphs need a GPU of NVIDIA; compile and bare work here"
            continue
        assert "error" not in row, row
        assert row["images_per_second"] > 0
        assert row["of_bare"] > 0
        if switch in ("compile", "channels_last"):
            assert row["difference"] < 1e-2
        if switch == "bf16":
            assert row["difference"] > 0
    assert content["resumed"] == {"32-true": 0, "bf16-mixed": 0}
    assert len(re.findall(r"images/s, [\d.]+ of bare, [\d.]+ of the floor", printed)) == 5 * len(names)


@pytest.mark.slow  # compiles
def test_all_networks_are_measured_with_every_switch(script, tmp_path, capsys) -> None:
    assert script.main(["--smoke", "--to", str(tmp_path / "gpu.json")]) == 0
    check(script, list(script.NETWORKS), capsys.readouterr().out, tmp_path / "gpu.json")


def test_without_a_gpu_only_the_smoke_test_runs(script, capsys) -> None:
    with pytest.raises(SystemExit):
        script.main([])
    assert "--smoke runs tiny networks" in capsys.readouterr().err


def test_a_gpu_without_bf16_or_triton_is_told_what_works(script, monkeypatch) -> None:
    monkeypatch.setattr(script, "CUDA", True)
    monkeypatch.setattr(script.torch.cuda, "is_bf16_supported", lambda: False)
    monkeypatch.setattr(script.torch.cuda, "get_device_name", lambda: "Tesla V100")
    monkeypatch.setattr(script.torch.utils._triton, "has_triton", lambda: False)
    assert script.reason_against("bf16") == "Tesla V100 has no bf16; trainer.precision=16-mixed works here"
    assert "compile=aot_eager" in script.reason_against("compile")
    assert script.reason_against("eager") is None
