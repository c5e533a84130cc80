"""Traffic between ranks per step of each player:  python benchmarks/traffic.py [key=value ...]"""

import sys

from saddlepoint.config.compose import compose
from saddlepoint.experiment.build import build_game
from saddlepoint.game.average import BatchNorm


def main(overrides: list[str]) -> None:
    game = build_game(compose(overrides))
    layers = [m for player in game.players.values() for m in player.network.modules() if isinstance(m, BatchNorm)]
    buffers = [buffer for layer in layers for buffer in (layer.running_mean, layer.running_var) if buffer is not None]
    statistics = sum(buffer.numel() for buffer in buffers)
    for name in game.players:
        parameters = sum(p.numel() for p in game.player(name).network.parameters() if p.requires_grad)
        size = 4 * (parameters + statistics) / 2**20
        print(f"{name}: {parameters:,} parameters + {statistics:,} of batch norm = {size:.2f} MiB per step")


if __name__ == "__main__":
    main(sys.argv[1:])
