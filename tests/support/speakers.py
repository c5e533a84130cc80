"""Clips of silence by speakers."""

import torch

from saddlepoint.data.data import Data, Split
from saddlepoint.modality import Audio


class Speakers(Data):
    modality = Audio(8000, 16)

    def __init__(self, speakers: list[int] | None, length: int = 8) -> None:
        super().__init__((1, length), 2)
        self.speakers, self.length = speakers, length

    def splits(self) -> dict[str, Split]:
        n = len(self.speakers or [0])
        columns = {} if self.speakers is None else {"speaker": torch.tensor(self.speakers)}
        x, y = torch.zeros(n, 1, self.length, dtype=torch.int16), torch.zeros(n, dtype=torch.int64)
        return {"train": Split("train", x, y, 2, columns)}
