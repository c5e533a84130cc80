"""Time of `saddlepoint compare` on many run folders: python benchmarks/compare.py [--runs 1000] [--arms 200]

Writes run folders of the size that training leaves: the composed config, a journal of as many lines as the default
periods give for 500,000 images, and a summary with three scores and their contracts. They differ in a learning rate per
arm, and in the seed. Prints the seconds from loaded modules to the written report, and those of the import.
"""

import argparse
import cProfile
import json
import random
import tempfile
import time
from pathlib import Path

START = time.perf_counter()  # the imports below are timed

from omegaconf import OmegaConf  # noqa: E402
from record import record  # noqa: E402

from saddlepoint.cli import compare  # noqa: E402
from saddlepoint.config.compose import compose  # noqa: E402

IMPORT_SECONDS = time.perf_counter() - START
SCORES = ("fid_digits_900_train", "inception_score_digits_900_train", "coverage_digits_900_train")
CURVES = ("discriminator/adversarial", "generator/adversarial", "discriminator/gradient_norm",
          "generator/gradient_norm",
          "discriminator/logit_real", "discriminator/logit_fake", "discriminator/probability_real",
          "discriminator/probability_fake", "generator/logit_fake", "generator/probability_fake")  # fmt: skip


def contract(metric: str) -> dict[str, object]:
    return {
        "metric": metric, "n_real": 897, "n_fake": 900, "split": "train", "data": "81c3" * 16, "resolution": "1x8x8",
        "resizer": "none", "extractor": "digits", "extractor_sha256": "4de4" * 16, "weights": "averaged", "seed": 0,
        "library": "saddlepoint", "version": "1", "settings": {}, "batch_norm": "running",
    }  # fmt: skip


def write_runs(outputs: Path, runs: int, arms: int) -> None:
    """Write `runs` run folders of `arms` settings."""
    config, draw = compose(["logger=none", "outputs=outputs"]), random.Random(0)
    text = OmegaConf.to_yaml(config)
    for i in range(runs):
        arm, seed = i % arms, i // arms
        folder = outputs / f"run{arm}" / f"seed{seed}"
        folder.mkdir(parents=True)
        lr = f"lr: {1e-4 * (1 + arm / arms):.8f}"
        content = text.replace("seed: 0\n", f"seed: {seed}\n", 1).replace("lr: 0.0005", lr)
        (folder / "config.yaml").write_text(content.replace("name: null", f"name: run{arm}", 1))
        rows = []
        for images in range(0, 500_001, 6_400):
            row = {"images": images, "rounds": images // 64, "seconds": images / 3e4, "images_per_second": 3e4}
            rows.append(row | {key: draw.random() for key in CURVES})
            if images % 64_000 == 0:
                rows.append({"images": images, "seconds": images / 3e4} | dict.fromkeys(SCORES, 99 / (1 + images)))
        (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        final = {key: {"value": 10 + draw.random(), "std": None, "contract": contract(key.partition("_digits")[0])}
                 for key in SCORES}  # fmt: skip
        (folder / "summary.json").write_text(
            json.dumps({"status": "finished", "images": 500_032, "seconds": 20.0, "final": final})
        )
        (folder / "provenance.json").write_text(
            json.dumps({"git": {"commit": "abc"}, "hardware": {"accelerators": []}})
        )
        (folder / "samples").mkdir()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=1_000)
    parser.add_argument("--arms", type=int, default=200)
    parser.add_argument("--profile", metavar="FILE", help="write a profile of cProfile, which slows it down")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        write_runs(Path(folder) / "outputs", arguments.runs, arguments.arms)
        config = compose([f"runs={folder}/outputs/*", f"to={folder}/report", "logger.mode=disabled"], command="compare")
        profile = cProfile.Profile()
        wall, cpu = time.perf_counter(), time.process_time()
        if arguments.profile:
            profile.enable()
        compare.command(config)
        profile.disable()
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    if arguments.profile:
        profile.dump_stats(arguments.profile)
    print(
        f"{arguments.runs} runs in {arguments.arms} arms: {wall:.2f} s, {cpu:.2f} s of CPU time; "
        f"imports {IMPORT_SECONDS:.2f} s"
    )
    record(f"compare, {arguments.runs} runs", **{"seconds": wall, "CPU time": cpu, "import, seconds": IMPORT_SECONDS})


if __name__ == "__main__":
    main()
