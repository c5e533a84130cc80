"""Runs the benchmarks of speed, and writes benchmarks/results.json and docs/performance.md with its plots: make bench

    python benchmarks/report.py                      # all, an hour or more on a quiet machine
    python benchmarks/report.py --only peers,frechet --quick
    python benchmarks/report.py --write              # only the page, from benchmarks/results.json

MNIST is read from SADDLEPOINT_DATA.  A result replaces the one of the same program in results.json.  --quick shortens
every program, for a trial: its results are marked, and are no measurements.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure

HERE = Path(__file__).resolve().parent
RESULTS, PAGE = HERE / "results.json", HERE.parent / "docs" / "performance.md"
GPU = HERE / "gpu.json"  # of `gpu.py --to benchmarks/gpu.json`, if it was run
LEAST, MOST = "at least", "at most"


@dataclass(frozen=True)
class Program:
    """One claim: a command, the same in short, and the bound of a number by its name."""

    title: str
    command: str
    quick: str
    bounds: Mapping[str, tuple[str, float]] = field(default_factory=dict)
    pattern: str = ""  # of the last line of a program that has no `record`, with named groups
    threads: int = 1


ROUNDS = r"threads: (?P<ratio>[\d.]+), of user CPU time (?P<ratio_of_CPU_time>[\d.]+)"


def rounds(overrides: str, least: float, threads: int = 1) -> Program:
    title = f"rounds against a bare loop: {overrides or 'the default game'}"
    command = f"rounds.py 100 {overrides}".strip()
    return Program(
        title, command, command.replace("100", "20", 1), {"ratio of CPU time": (LEAST, least)}, ROUNDS, threads
    )


WGAN_GP = "objective=wasserstein regularizer=[gradient_penalty]"
PROGRAMS: dict[str, Program] = {
    "rounds": rounds("", 0.90),
    "rounds_mnist": rounds("data=mnist architecture=mlp", 0.95),
    "rounds_conv28": rounds("data=mnist architecture=conv28", 0.98, threads=2),
    "rounds_r1": rounds("regularizer=[r1]", 0.95),
    "rounds_gradient_penalty": rounds(WGAN_GP, 0.95),
    "everything": Program(
        "the default run against one that only trains", "everything.py", "everything.py --images 20000 --repeats 1",
        {"ratio of CPU time without evaluation": (LEAST, 0.90)},
    ),
    "peers": Program(
        "rounds against torchgan and Lightning's pattern: the MLP on MNIST", "peers.py data=mnist architecture=mlp",
        "peers.py --rounds 50 --repeats 2 data=mnist architecture=mlp",
        {"torchgan ratio, CPU time": (LEAST, 1.9), "lightning ratio, CPU time": (LEAST, 2.2)},
    ),
    "peers_fused": Program(
        "the same, with the fused Adam also for the others", "peers.py --fused data=mnist architecture=mlp",
        "peers.py --fused --rounds 50 --repeats 2 data=mnist architecture=mlp",
    ),
    "quality": Program(
        "seconds to FID 15 on MNIST: conv28", "quality.py --seeds 0,1,2 data=mnist architecture=conv28",
        "quality.py --target 60 --most 64_000 --samples 1000 data=mnist architecture=conv28", threads=2,
    ),
    "frechet": Program(
        "the Frechet distance from moments, 2,048 features", "frechet.py", "frechet.py 256 1000 2",
        {"torchmetrics ratio": (LEAST, 2.5), "sqrtm ratio": (LEAST, 10)}, threads=2,
    ),
    "evaluation": Program(
        "an evaluation of 10,000 images of MNIST", "evaluation.py", "evaluation.py --fakes 1000 --repeat 1", threads=2
    ),
    "compare": Program(
        "`saddlepoint compare` on 1,000 runs", "compare.py", "compare.py --runs 50 --arms 10", {"CPU time": (MOST, 4)}
    ),
    "loading": Program(
        "loaders, 64 x 64", "loading.py", "loading.py --side 32 --images 2000 --files 200 --seconds 0.5"
    ),
    "memory": Program("memory over 2 million images", "memory.py", "memory.py 100_000", {"MiB grown": (MOST, 20)}),
    "growth": Program("growth", "growth.py", "growth.py --seconds 0.3 --only batch,samples"),
}  # fmt: skip


def run(name: str, program: Program, quick: bool) -> dict[str, Any]:
    """Run a program, and return its result."""
    command = program.quick if quick else program.command
    print(f"--- {name}: {command}", flush=True)
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        collected = Path(folder) / "results.jsonl"
        environment = {**os.environ, "OMP_NUM_THREADS": str(program.threads), "BENCHMARK_RESULTS": str(collected)}
        process = subprocess.run(
            [sys.executable, HERE / command.split()[0], *command.split()[1:]], env=environment, text=True,
            stdout=subprocess.PIPE,
        )  # fmt: skip
        print(process.stdout, flush=True)
        parts = [json.loads(line) for line in collected.read_text().splitlines()] if collected.exists() else []
    if program.pattern and (match := re.search(program.pattern, process.stdout)):
        numbers = {key.replace("_", " "): float(value) for key, value in match.groupdict().items()}
        parts = [{"claim": program.title, "numbers": numbers}]
    result = {"title": program.title, "command": command, "threads": program.threads, "parts": parts,
              "seconds": round(time.perf_counter() - start, 1), "load": os.getloadavg()[0], "quick": quick}  # fmt: skip
    return result if parts and not process.returncode else result | {"error": f"exit code {process.returncode}"}


def machine() -> dict[str, Any]:
    return {"system": platform.system(), "processor": platform.machine(), "cores": os.cpu_count(),
            "python": platform.python_version(), "torch": torch.__version__}  # fmt: skip


def page(results: dict[str, Any]) -> Iterator[str]:
    """Yield the lines of docs/performance.md, and draw its plots."""
    facts = results["machine"]
    yield "# Performance\n"
    yield (
        f"Measured by `make bench` on {facts['cores']} cores ({facts['processor']}, torch {facts['torch']}), without a "
        "GPU. Programs take turns within a run, so that a load of the machine affects all of them alike; a ratio is "
        "the median of several turns. User CPU time is less affected by other programs than wall-clock time. On a "
        "GPU, `python benchmarks/gpu.py` measures five networks with each switch in eight minutes"
        f"{'.' if GPU.exists() else '; it has not been run yet.'}\n"
    )
    if GPU.exists():
        yield from gpu_lines(json.loads(GPU.read_text()))
    for name, result in results["results"].items():
        yield f"## {result['title'][0].upper()}{result['title'][1:]}\n"
        yield f"    OMP_NUM_THREADS={result['threads']} python benchmarks/{result['command']}\n"
        if result["quick"]:
            yield "A trial of the program, not a measurement.\n"
        if "error" in result:
            yield f"The program failed: {result['error']}.\n"
        bounds = PROGRAMS[name].bounds
        for part in result["parts"]:
            if "points" in part["numbers"]:
                yield from growth_lines(part)
                continue
            yield f"| {part['claim']} | | aim |"
            yield "|---|---|---|"
            for key, value in part["numbers"].items():
                side, bound = bounds.get(key, ("", None))
                yield f"| {key} | {format_value(value)} | {side} {'' if bound is None else f'{bound:g}'} |"
            yield ""
    for plot, alt in draw_plots(results["results"]):
        yield f"![{alt}]({plot.name})\n"


def gpu_lines(content: dict[str, Any]) -> Iterator[str]:
    yield f"## {content['device']}\n"
    yield "    python benchmarks/gpu.py --to benchmarks/gpu.json\n"
    yield ", ".join(f"{name} {rate:.3g}/s" for name, rate in content["rates"].items()) + ".\n"
    yield "| network | switch | images/s | of bare | of the floor | difference of losses | peak MiB |"
    yield "|---|---|---|---|---|---|---|"
    columns = "images_per_second", "of_bare", "of_floor", "difference", "peak_mib"
    for row in content["rows"]:
        values = ["" if row.get(column) is None else format_value(row[column]) for column in columns]
        reason = row.get("error") or row.get("unavailable")
        yield f"| {row['network']} | {row['switch']} | {reason or ' | '.join(values)} |{' | | | |' if reason else ''}"
    differences = ", ".join(f"{key} {value:.3g}" for key, value in content["resumed"].items())
    yield f"\nThe largest difference of a weight after a resume: {differences}.\n"


def growth_lines(part: dict[str, Any]) -> Iterator[str]:
    numbers = part["numbers"]
    sizes, seconds = zip(*numbers["points"], strict=True)
    yield f"| {part['claim']} | {' | '.join(f'{size:,}' for size in sizes)} | exponent |"
    yield f"|---{'|---' * (len(sizes) + 1)}|"
    yield f"| {numbers['unit']} | {' | '.join(f'{s:.3g}' for s in seconds)} | {numbers['exponent']:.2f} |\n"


def format_value(value: Any) -> str:
    if not isinstance(value, int | float):
        return str(value)
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def draw_plots(results: dict[str, Any]) -> Iterator[tuple[Path, str]]:
    """Draw the ratios with their bounds, and the curves of growth; yield each file and its description."""
    bars: list[tuple[str, float, float]] = []
    for name, result in results.items():
        bounds = {key: bound for key, (side, bound) in PROGRAMS[name].bounds.items() if side == LEAST}
        numbers = {key: value for part in result["parts"] for key, value in part["numbers"].items() if key in bounds}
        bars += [
            (f"{result['title']}: {key}" if len(bounds) > 1 else result["title"], value, bounds[key])
            for key, value in numbers.items()
        ]
    if bars:
        figure = Figure(figsize=(9, 0.45 * len(bars) + 1), layout="constrained")
        axes = figure.add_subplot()
        labels, values, aims = zip(*bars, strict=True)
        y = np.arange(len(bars))
        axes.barh(y, values, color="#0072B2", height=0.6)
        axes.plot(aims, y, "|", color="#D55E00", markersize=16, markeredgewidth=2, linestyle="none", label="aim")
        axes.set_yticks(y, labels, fontsize=8)
        axes.set_xscale("log")
        axes.set_xlabel("ratio of speeds")
        axes.invert_yaxis()
        axes.legend(frameon=False)
        axes.spines[["top", "right"]].set_visible(False)
        yield save(figure, "performance_ratios.png"), "Ratios of speeds, and the aim of each"
    curves = [part for part in results.get("growth", {"parts": []})["parts"] if "points" in part["numbers"]]
    if curves:
        figure = Figure(figsize=(3 * len(curves), 3), layout="constrained")
        for axes, part in zip(np.ravel(figure.subplots(1, len(curves))), curves, strict=True):
            axes.loglog(*zip(*part["numbers"]["points"], strict=True), "o-", color="#0072B2", base=10)
            axes.set_title(part["claim"], fontsize=9)
            axes.set_ylabel(part["numbers"]["unit"], fontsize=7)
        yield save(figure, "performance_growth.png"), "Seconds against the size, on log scales"


def save(figure: Figure, name: str) -> Path:
    figure.savefig(path := PAGE.with_name(name), dpi=100, metadata={"Software": None})
    return path


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(PROGRAMS), help="separated by commas")
    parser.add_argument("--quick", action="store_true", help="short programs, for a trial")
    parser.add_argument("--write", action="store_true", help="only write the page")
    parser.add_argument(
        "--to", type=Path, default=RESULTS, help="the results; the page is written only beside the default"
    )
    given = parser.parse_args()
    names = given.only.split(",")
    if unknown := [name for name in names if name not in PROGRAMS]:
        parser.error(f"no program {unknown[0]} here. There are: {', '.join(PROGRAMS)}")
    results = json.loads(given.to.read_text()) if given.to.exists() else {"results": {}}
    for name in [] if given.write else names:
        results["results"][name] = run(name, PROGRAMS[name], given.quick)
        results |= {
            "machine": machine(),
            "results": {k: results["results"][k] for k in PROGRAMS if k in results["results"]},
        }
        given.to.write_text(json.dumps(results, indent=1) + "\n")
    if given.to == RESULTS:
        PAGE.write_text("\n".join(page(results)).rstrip() + "\n")
    return int(any("error" in result for result in results["results"].values()))


if __name__ == "__main__":
    sys.exit(main())
