"""A checkpoint that has changed since it was written is detected, whichever bit changed."""

import io
import zipfile

import pytest
import torch

from saddlepoint.error import Mistake
from saddlepoint.run.checkpoint import AtomicCheckpointIO, load_checkpoint, load_newest_checkpoint
from saddlepoint.run.storage.checksum import LENGTH, append_checksum, verify_checksum


def state(images):
    return {"state_dict": {"w": torch.arange(64.0) + images}, "saddlepoint": {"format": 2, "images": images}}


@pytest.fixture
def folder(tmp_path):
    for images in (100, 200):
        AtomicCheckpointIO().save_checkpoint(state(images), tmp_path / "last.ckpt")
    return tmp_path


@pytest.mark.parametrize("step", [7, pytest.param(1, marks=pytest.mark.slow)])
def test_a_flipped_bit_in_any_byte_is_detected(folder, step):
    last = folder / "last.ckpt"
    content = last.read_bytes()
    for i in range(0, len(content), step):
        last.write_bytes(content[:i] + bytes([content[i] ^ (1 << i % 8)]) + content[i + 1 :])
        with pytest.raises((ValueError, zipfile.BadZipFile)):
            verify_checksum(last)
    last.write_bytes(content)
    verify_checksum(last)


def test_a_truncation_by_any_number_of_bytes_is_detected(folder):
    last = folder / "last.ckpt"
    content = last.read_bytes()
    for length in (*range(0, len(content) - 200, 97), *range(len(content) - 200, len(content))):
        last.write_bytes(content[:length])
        with pytest.raises((ValueError, zipfile.BadZipFile)):
            verify_checksum(last)


def regions(content):
    """A byte of each part of a zip: local header, pickle, tensor, central directory, its end, the checksum."""
    tensor = content.index((torch.arange(64.0) + 200).numpy().tobytes())
    directory = content.index(b"PK\x01\x02")
    end = content.rindex(b"PK\x05\x06")
    return {"header": 8, "pickle": 100, "tensor": tensor + 77, "directory": directory + 20, "end": end + 12,
            "comment length": end + 20, "checksum": len(content) - 1}  # fmt: skip


@pytest.mark.parametrize("region", ["header", "pickle", "tensor", "directory", "end", "comment length", "checksum"])
def test_a_flipped_bit_in_any_region_falls_back_to_the_previous_with_a_message(folder, region):
    last, messages = folder / "last.ckpt", []
    content = bytearray(last.read_bytes())
    content[regions(bytes(content))[region]] ^= 4
    last.write_bytes(content)
    newest = load_newest_checkpoint(folder, messages.append)
    assert newest is not None
    path, checkpoint = newest
    assert (path.name, checkpoint["saddlepoint"]["images"]) == ("previous.ckpt", 100)
    assert "last.ckpt is not a readable checkpoint" in messages[0]


def test_torch_alone_does_not_detect_a_flipped_bit(folder):
    """The reason for the checksum: if this fails, torch.load now verifies the CRC."""
    last = folder / "last.ckpt"
    content = bytearray(last.read_bytes())
    content[regions(bytes(content))["tensor"]] ^= 4
    last.write_bytes(content)
    assert not torch.equal(torch.load(last, weights_only=True)["state_dict"]["w"], state(200)["state_dict"]["w"])


def test_a_checkpoint_without_a_checksum_is_read_and_its_tensors_are_verified(folder):
    last = folder / "last.ckpt"
    torch.save(state(300), last)
    assert load_checkpoint(last)["saddlepoint"]["images"] == 300
    content = bytearray(last.read_bytes())
    content[content.index((torch.arange(64.0) + 300).numpy().tobytes()) + 77] ^= 4
    last.write_bytes(content)
    with pytest.raises(Mistake, match="has changed since it was written"):
        load_checkpoint(last)


def test_the_checksum_is_a_zip_comment_that_other_readers_ignore():
    file = io.BytesIO()
    torch.save({"a": torch.ones(3)}, file)
    size = len(file.getvalue())
    append_checksum(file)
    assert len(file.getvalue()) == size + LENGTH
    assert zipfile.ZipFile(file).comment.startswith(b"sha256:")
    file.seek(0)
    assert torch.load(file, weights_only=True)["a"].tolist() == [1, 1, 1]
