"""Batches on a GPU: the next one is begun before the results of one are fetched, and nothing else changes."""

from collections.abc import Iterator

import pytest
import torch

from cov3d.errors import ScanError
from cov3d.inference.networks import Networks, ScanPrediction
from cov3d.inference.raw_scans import RawScan
from cov3d.preprocessing.sizes import Size
from tests.inference.cell_network import cell_member

BAD = RawScan("bad", error="bad can't be read")


def raw_scan(number: int) -> RawScan:
    chance = torch.Generator().manual_seed(number)
    voxels = torch.randint(0, 256, (1, *Size.TINY.shape), generator=chance, dtype=torch.uint8)
    return RawScan(f"scan_{number}", {Size.TINY: voxels})


BATCHES = [[raw_scan(0), BAD, raw_scan(1)], [BAD], [raw_scan(2), raw_scan(3)], [raw_scan(4)]]


def predicted(taken: list[int]) -> Iterator[tuple[ScanPrediction, int]]:
    """Each prediction with the number of batches that had been taken by then."""

    def batches() -> Iterator[list[RawScan]]:
        for number, batch in enumerate(BATCHES):
            taken.append(number)
            yield batch

    networks = Networks([cell_member(), cell_member()], torch.device("cpu"))
    for one in networks.predict_batches(batches()):
        yield one, len(taken)


def test_what_is_computed_is_not_lost_when_the_next_batch_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def batches() -> Iterator[list[RawScan]]:
        yield BATCHES[0]
        raise ScanError("a process that preprocesses scans was killed")

    monkeypatch.setattr(Networks, "_batches_ahead", lambda networks, extras: 1)
    found = Networks([cell_member()], torch.device("cpu")).predict_batches(batches())
    assert [next(found).scan for _ in BATCHES[0]] == ["scan_0", "bad", "scan_1"]
    with pytest.raises(ScanError, match="was killed"):
        next(found)


def test_a_batch_ahead_gives_the_same_predictions_in_the_same_order(monkeypatch: pytest.MonkeyPatch) -> None:
    at_once = list(predicted([]))
    monkeypatch.setattr(Networks, "_batches_ahead", lambda networks, extras: 1)
    ahead = list(predicted([]))
    names = ["scan_0", "bad", "scan_1", "bad", "scan_2", "scan_3", "scan_4"]
    assert [one.scan for one, _ in at_once] == [one.scan for one, _ in ahead] == names
    for (one, _), (other, _) in zip(at_once, ahead, strict=True):
        assert one.error == other.error
        if one.error is None:
            assert one.probabilities is not None
            assert other.probabilities is not None
            assert one.probabilities.shape == (2, 5)
            assert one.probabilities.tobytes() == other.probabilities.tobytes()
    assert [taken for _, taken in at_once] == [1, 1, 1, 2, 3, 3, 4]
    assert [taken for _, taken in ahead] == [2, 2, 2, 3, 4, 4, 4]
