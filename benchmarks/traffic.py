"""Traffic between ranks per step of each player:  python benchmarks/traffic.py [key=value ...]"""

import sys

from saddlepoint.config.compose import compose
from saddlepoint.experiment.build import build_game


def main(words: list[str]) -> None:
    game = build_game(compose(words))
    statistics = sum(seen.numel() for seen in game._seen_by_batch_norm())
    for name in game.players:
        own = sum(p.numel() for p in game.player(name).network.parameters() if p.requires_grad)
        size = 4 * (own + statistics) / 2**20
        print(f"{name}: {own:,} parameters + {statistics:,} of batch norm = {size:.2f} MiB a step")


if __name__ == "__main__":
    main(sys.argv[1:])
