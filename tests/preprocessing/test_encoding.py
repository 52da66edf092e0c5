"""A volume's file: what comes back, in how many bytes, and every harm that it may come to."""

import io

import numpy as np
import pytest
import zstandard

from cov3d.preprocessing.encoding import decode, encode

SHAPE = (12, 20, 16)


def volume(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, SHAPE, dtype=np.uint8)


def frame(content: bytes) -> bytes:
    return zstandard.ZstdCompressor(write_checksum=True).compress(content)


def npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


@pytest.mark.parametrize("voxels", [volume(), volume()[:1], np.zeros(SHAPE, np.uint8), volume()[:, ::-1, ::-1]])
def test_a_volume_comes_back_whole_and_writable(voxels: np.ndarray) -> None:
    found = decode(encode(voxels), voxels.shape)
    assert np.array_equal(found, voxels)
    assert found.flags.writeable
    assert found.flags.c_contiguous


def test_the_same_volume_gives_the_same_bytes_and_is_left_as_it_was() -> None:
    voxels = volume()
    assert encode(voxels) == encode(voxels.copy(order="F")) == encode(volume())
    assert np.array_equal(voxels, volume())


def test_it_can_be_read_without_cov3d() -> None:
    encoded = encode(volume())
    differences = np.load(io.BytesIO(zstandard.decompress(encoded)))
    assert np.array_equal(np.cumsum(differences, axis=0, dtype=np.uint8), volume())


def test_slices_that_are_alike_cost_little() -> None:
    voxels = np.repeat(volume()[:1], 100, axis=0)
    assert len(encode(voxels)) < 2 * voxels[0].size


@pytest.mark.parametrize("kept", [0, 3, 10, 200, -100, -4, -1])
def test_a_file_cut_short_is_found_out(kept: int) -> None:
    with pytest.raises(ValueError, match=r".+"):
        decode(encode(volume())[:kept], SHAPE)


def test_any_changed_byte_is_found_out() -> None:
    encoded = encode(volume())
    for place in (*range(24), *range(24, len(encoded), 97), len(encoded) - 1):
        changed = bytearray(encoded)
        changed[place] ^= 0x10
        try:
            found = decode(bytes(changed), SHAPE)
        except ValueError:
            continue
        assert np.array_equal(found, volume()), place  # a bit that says nothing of the content


@pytest.mark.parametrize(
    "garbage",
    [
        *(b"\0" * 5000, b"garbage" * 1000, frame(b""), frame(b"\0" * volume().size), frame(npy(volume())[:-3])),
        *(frame(npy(volume().astype(np.int8))), frame(npy(volume()[:, :, :8])), frame(npy(volume().ravel()))),
        *(frame(npy(np.asfortranarray(volume()))), frame(npy(volume())) + b"more", npy(volume())),
        frame(npy(volume()).replace(b"'|u1'", b"'|O' ")),
        frame(b"\x93NUMPY\x03\x00" + npy(volume())[8:]),
    ],
)
def test_anything_else_is_refused(garbage: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        decode(garbage, SHAPE)


def test_a_frame_that_would_fill_the_memory_is_refused_by_its_header() -> None:
    bomb = zstandard.ZstdCompressor().compress(bytes(50_000_000))
    assert len(bomb) < 10_000
    with pytest.raises(ValueError, match="does not hold a volume of 12×20×16 voxels"):
        decode(bomb, SHAPE)


def test_a_pickle_is_not_loaded() -> None:
    stream = io.BytesIO()
    np.save(stream, np.array([{}] * volume().size, dtype=object).reshape(SHAPE), allow_pickle=True)
    with pytest.raises(ValueError, match=r".+"):
        decode(frame(stream.getvalue()), SHAPE)
