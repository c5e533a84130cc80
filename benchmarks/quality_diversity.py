"""Quality against diversity of tokens: forward and reverse KL of runs on data=oracle, and their temperature curve.

    python benchmarks/quality_diversity.py <outputs> picture.png [baseline]

outputs holds <name>/seed<k>/summary.json of runs with +callback=likelihood; the default baseline is oracle_likelihood.
Draws the mean over seeds of the baseline's curve over temperatures, and the end of each run. Prints the mean of each
other name minus the baseline, paired by seed, with a 95% interval of Student's t.
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from scipy import stats

SCORES = ("forward_kl", "reverse_kl", "nll", "nll_oracle")


def final_scores(folder: Path) -> dict[str, Any]:
    """Return the final scores of a run by metric."""
    final = json.loads((folder / "summary.json").read_text(encoding="utf-8")).get("final") or {}
    return {score["contract"]["metric"]: score for score in final.values()}


def main(outputs: Path, to: Path, baseline: str = "oracle_likelihood") -> None:
    """Draw and print."""
    folders = [run for run in sorted(outputs.glob("*/seed*")) if (run / "summary.json").is_file()]
    runs: dict[str, dict[int, dict[str, Any]]] = {}
    for run in folders:
        if "reverse_kl" in (scores := final_scores(run)):  # of a finished run
            runs.setdefault(run.parent.name, {})[int(run.name[4:])] = scores
    figure = Figure(figsize=(6, 4.5), dpi=120, layout="constrained")
    axes = figure.subplots()
    curves = [scores["nll"]["detail"]["curve"] for scores in runs[baseline].values()]
    means = {key: [float(np.mean([c[t][key] for c in curves])) for t in curves[0]] for key in SCORES[:2]}
    points = list(zip(means["forward_kl"], means["reverse_kl"], strict=True))
    axes.plot(
        *zip(*points, strict=True), color="grey", marker=".", label=f"{baseline}, temperatures, mean of {len(curves)}"
    )
    for temperature, point in zip(curves[0], points, strict=True):
        axes.annotate(temperature, point, xytext=(4, 4), textcoords="offset points", fontsize=7, color="grey")
    for name, by_seed in runs.items():
        values = {key: np.array([s[key]["value"] for s in by_seed.values()]) for key in SCORES}
        axes.scatter(values["forward_kl"], values["reverse_kl"], s=18, label=name)
        print(name, f"({len(by_seed)} seeds):", ", ".join(f"{key} {value.mean():.4f}" for key, value in values.items()))
        if name == baseline:
            continue
        common = sorted(by_seed.keys() & runs[baseline].keys())
        for key in SCORES:
            gap = np.array([by_seed[seed][key]["value"] - runs[baseline][seed][key]["value"] for seed in common])
            half = stats.t.ppf(0.975, len(gap) - 1) * gap.std(ddof=1) / len(gap) ** 0.5 if len(gap) > 1 else np.nan
            print(f"  {key} - {baseline}: {gap.mean():+.4f} [{gap.mean() - half:+.4f}, {gap.mean() + half:+.4f}]")
    axes.set(xlabel="forward KL, nats per token (diversity)", ylabel="reverse KL, nats per token (quality)")
    axes.legend(fontsize=7)
    figure.savefig(to)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:])
