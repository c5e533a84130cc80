"""Pairs of images: the target, column x, and the image that it is made from, the extra column `source`.

Three forms: two folders or zips (`folder` the targets, `source` the sources), one folder of side-by-side images, or an
.npz with the arrays x and source.  The files of two folders are matched by their names without the suffix.  Both
images of a pair are resized and cropped alike; in training they are mirrored (`flip`) and cropped at random (`jitter`)
alike.  The settings: docs/data.md.  All pairs are kept in memory.
"""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from saddlepoint.data import image_file
from saddlepoint.data.array_file import load_array
from saddlepoint.data.augmentation import check_jitter
from saddlepoint.data.data import Split
from saddlepoint.data.facts import OTHER_HALF
from saddlepoint.data.image_folder import FileSplit, ImageFolder
from saddlepoint.data.listing import (
    Listing,
    format_changes,
    format_names,
    has_array_suffix,
    list_files,
    names_by_stem,
    resolve_folder,
)
from saddlepoint.error import Mistake
from saddlepoint.modality.image import is_image

SOURCE = "source"  # the extra column


class PairedImages(ImageFolder):
    """x uint8 [n, channels, H, W]; column source uint8 [n, source_channels, H, W]; an npz may have other sizes.

    source       folder or zip of the sources, with the names of `folder`
    source_half  left or right: the images of `folder` show source and target side by side; excludes `source`
    jitter       pixels by which a training pair is enlarged before a random crop of its size; 0: none
    """

    name = "paired_images"
    noun = "pairs"

    def __init__(
        self,
        folder: str | Path | None = None,
        source: str | Path | None = None,
        source_half: str | None = None,
        size: int | Iterable[int] | None = None,
        channels: int = 3,
        source_channels: int = 3,
        memory: int = 2 * 2**30,
        workers: int = 4,
        shape: Iterable[int] | None = None,
        classes: int | None = None,
        fit: str = "crop",
        bits: int | None = None,
        validation: float = 0.1,
        test: float = 0.1,
        extractor: str | None = "auto",
        batch: int = 64,
        seed: int = 0,
        flip: bool = False,
        jitter: int = 0,
    ) -> None:
        if source_half not in (None, *OTHER_HALF):
            raise Mistake(f"data.source_half={source_half}: must be left or right, or null with data.source.")
        forms = {f"data.source={source}": source, f"data.source_half={source_half}": source_half}
        given = [form for form, value in forms.items() if value is not None]
        if has_array_suffix(folder):
            if given:
                raise Mistake(f"{given[0]}: an array file has both images of a pair, x and source. Leave it null.")
        elif len(given) != 1:
            raise Mistake(
                f"data.folder={folder}: {' and '.join(given) or 'no sources'}. Set either data.source=<the folder of "
                "the sources>, or data.source_half=left or right for images of source and target side by side."
            )
        self.source, self.source_half, self.source_channels = source, source_half, source_channels
        self.half = OTHER_HALF.get(source_half or "")
        if not has_array_suffix(folder):
            image_file.check_channels(source_channels)
        super().__init__(
            folder, size, channels, memory, workers, shape, classes, fit, bits, validation=validation, test=test,
            extractor=extractor, batch=batch, seed=seed, flip=flip,
        )  # fmt: skip
        self.jitter = check_jitter(jitter)

    def splits(self) -> dict[str, Split]:
        return self._load_array_pairs() if self.is_array_file else self._load_file_pairs()

    def describe(self) -> dict[str, Any]:
        """Return the facts of `Folder.describe`, and as `source_files` the sha256 of the listing of the sources."""
        return super().describe() | ({"source_files": list_files(self.source).sha256} if self.source else {})

    def _load_array_pairs(self) -> dict[str, Split]:
        path = resolve_folder(self.folder)
        array = load_array(path, self.modality, channels=self.channels)
        source = array.extra_columns.get(SOURCE)
        if source is None or not is_image(source):
            names = ", ".join(array.extra_columns) or "nothing else"
            raise Mistake(
                f"{path}: pairs need the arrays x and {SOURCE}, images of uint8 or uint16; beside the samples it has "
                f"{names}."
            )
        if source.shape[1] != self.source_channels:
            raise Mistake(
                f"{path}: the images of {SOURCE} have {source.shape[1]} channels: set "
                f"data.source_channels={source.shape[1]}."
            )
        if self.jitter and source.shape[2:] != array.x.shape[2:]:
            sizes = " and ".join(image_file.format_size(x.shape[2:]) for x in (source, array.x))
            raise Mistake(f"{path}: data.jitter={self.jitter} needs sources and targets of one size, not {sizes}.")
        return self.array_splits(array)

    def _load_file_pairs(self) -> dict[str, Split]:
        files = self.listing
        sources = self._matching_sources(files)
        self._check_sizes(files, sources)
        target = self.target_format
        source_data = ImageFolder(
            self.source or self.folder, self.size, self.source_channels, workers=self.workers, fit=self.fit,
            shape=(self.source_channels, *target.size),
        )  # fmt: skip
        source_data.half = self.source_half
        source_data.listing = sources
        self._check_memory(len(files.names), target.size)
        splits, changes, source_changes = {}, Counter[str](), Counter[str]()
        for name, rows in self.split_indices(files.names).items():
            targets, column = FileSplit(name, self, rows), FileSplit(name, source_data, rows)
            x, source = targets.load_into_memory(), column.load_into_memory()
            splits[name] = Split(name, x.x, x.y, x.classes, {SOURCE: source.x}, self.modality)
            changes += targets.changes
            source_changes += column.changes
        notes = [*files.notes, *format_changes(files, changes)]
        self.notes = [*notes, *(sources.notes if self.source else []), *format_changes(sources, source_changes)]
        return splits

    def _matching_sources(self, files: Listing) -> Listing:
        """Return the sources, in the order of the targets.  Raises Mistake for names without a partner."""
        sources = list_files(resolve_folder(self.source or self.folder))
        sources.labels = sources.classes = None
        if self.source is None:
            return sources
        by_stem, source_by_stem = names_by_stem(files), names_by_stem(sources)
        lonely = [(files, [name for stem, name in by_stem.items() if stem not in source_by_stem], "source")]
        lonely.append((sources, [name for stem, name in source_by_stem.items() if stem not in by_stem], "target"))
        problems = [
            f"{len(names):,} of {len(listing.names):,} images of {listing.folder} have no {missing} of the same name: "
            f"{format_names(names)}"
            for listing, names, missing in lonely
            if names
        ]
        if problems:
            raise Mistake(f"{'; '.join(problems)}.\nA pair is two images of one name, apart from the suffix.")
        sources.names = [source_by_stem[stem] for stem in by_stem]
        return sources

    def _check_sizes(self, files: Listing, sources: Listing) -> None:
        """Raises Mistake if the images of a pair differ in aspect ratio, because a crop would show different parts."""
        if self.source is None:
            return
        different = []
        for name, source in zip(files.names, sources.names, strict=True):
            size, source_size = image_file.read_size(files, name), image_file.read_size(sources, source)
            if not _is_same_shape(size, source_size) or (self.size is None and size != source_size):
                different.append(f"{name} ({image_file.format_size(source_size)} to {image_file.format_size(size)})")
        if different:
            raise Mistake(
                f"{len(different):,} of {len(files.names):,} pairs have a source of another size: "
                f"{format_names(different)}.\nBoth images of a pair need one size, or with data.size one aspect ratio."
            )

    def _check_memory(self, n: int, size: image_file.Size) -> None:
        needed = n * (self.channels + self.source_channels) * size[0] * size[1]
        if needed > self.memory:
            raise Mistake(
                f"{n:,} pairs of {image_file.format_size(size)} take {needed / 2**30:.1f} GiB, more than data.memory="
                f"{self.memory}. Pairs are kept in memory: lower data.size, or set data.memory={needed}."
            )


def _is_same_shape(one: image_file.Size, other: image_file.Size) -> bool:
    """Whether two sizes (height, width) have one aspect ratio, up to a pixel of the smaller one."""
    small, large = sorted((one, other))
    return abs(small[0] * large[1] - small[1] * large[0]) <= max(large)
