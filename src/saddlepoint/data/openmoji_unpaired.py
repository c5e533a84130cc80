"""OpenMoji without pairs: drawings of one half of the training emoji, colours of the other; held-out emoji are pairs.

Column `source` is the drawing, with its grey level in three channels.  The rows of train (order and splits of
`openmoji`) are halved: the first 764 give the drawings, the last 764 the colours, so no emoji is in both domains.
Validation and test keep their pairs, so that the truth of a translation is known, which training never uses.
"""

from saddlepoint.data.data import Split
from saddlepoint.data.openmoji import OpenMoji
from saddlepoint.data.paired_images import SOURCE


class OpenMojiUnpaired(OpenMoji):
    """x uint8 [n, 3, 32, 32]; column source uint8 [n, 3, 32, 32], unpaired in train only."""

    name = "openmoji_unpaired"
    exchangeable_splits = ("validation", "test")  # of train, the two columns are of different emoji

    def splits(self) -> dict[str, Split]:
        splits = super().splits()
        for name, split in splits.items():
            x, source, half = split.x, split.extra_columns[SOURCE].expand_as(split.x), len(split) // 2
            if name == "train":
                x, source = x[half:], source[:half]
            splits[name] = Split(
                name, x, extra_columns={SOURCE: source.contiguous()}, modality=self.modality, paired=name != "train"
            )
        return splits
