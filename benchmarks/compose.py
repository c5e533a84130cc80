"""Hydra's public compose against config/defaults_list.py, which uses its internals: python benchmarks/compose.py

Both compose the config of `saddlepoint train objective=hinge`; timed alternately, median of 9.  Also prints which
chosen config files each of them reports.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median
from typing import Any

import hydra
from hydra.core.global_hydra import GlobalHydra

from saddlepoint.config import catalogue
from saddlepoint.config.defaults_list import merge_choices
from saddlepoint.config.override import parse_overrides, split_overrides

OVERRIDES = ["objective=hinge"]


def ours() -> dict[str, Any]:
    chosen, _ = split_overrides(parse_overrides(OVERRIDES), None)
    return merge_choices(chosen, None)[1]


def public() -> dict[str, Any]:
    GlobalHydra.instance().clear()
    with hydra.initialize_config_dir(str(catalogue.conf_folder()), version_base="1.3"):
        config = hydra.compose("train", OVERRIDES, return_hydra_config=True)
    return {group: name for group, name in config.hydra.runtime.choices.items() if not group.startswith("hydra/")}


def seconds(run: Callable[[], Any]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


if __name__ == "__main__":
    names = ours(), public()
    times = [(seconds(ours), seconds(public)) for _ in range(9)]
    print(f"ours    {median(one for one, _ in times):.3f} s  {names[0]}")
    print(f"public  {median(two for _, two in times):.3f} s  {names[1]}")
    print(f"not reported by the public one: {', '.join(group for group in names[0] if group not in names[1])}")
