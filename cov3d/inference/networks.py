"""The networks of an ensemble, and what they compute for batches of scans."""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd

from cov3d.errors import CheckpointError, Cov3dError
from cov3d.inference.explanation import Explanation, ScanViews, explain, watching
from cov3d.inference.raw_scans import RawScan
from cov3d.models.folding import fold_batch_norms
from cov3d.preprocessing.pipeline import settings
from cov3d.preprocessing.sizes import Size
from cov3d.training import checkpoint
from cov3d.training.augment import reflected_probabilities, to_network_input
from cov3d.training.background import HostCopy
from cov3d.training.checkpoint import CheckpointInfo
from cov3d.training.device import amp_mode
from cov3d.training.options import Precision
from cov3d.volume import Geometry

_DROPOUT = (_DropoutNd, nn.AlphaDropout)


@dataclass(frozen=True)
class Member:
    """A network of an ensemble, with the metadata and the path of its checkpoint."""

    model: nn.Module
    info: CheckpointInfo
    file: Path | None = None


def load_members(
    files: Sequence[Path], device: torch.device, *, fitted_temperature: bool = True, amp: str | None = None
) -> list[Member]:
    """Load the networks of several checkpoints for averaging.

    Args:
        files: the checkpoints.
        device: to load the networks to.
        fitted_temperature: whether to use the temperatures in the checkpoints; else 1.
        amp: the mixed precision that they will predict in; their memory layout is the faster one for it.

    Raises:
        CheckpointError: a file is not a checkpoint, the categories differ, or a checkpoint needs the preprocessing of
            another version.
    """
    is_faster = amp is not None or device.type == "cpu"
    layout = torch.channels_last_3d if is_faster else torch.contiguous_format
    members: list[Member] = []
    for file in files:
        model, info = checkpoint.load(file)
        if info.preprocessing.get("hash") != settings(info.size)["hash"]:
            raise CheckpointError(
                f"{file} was trained on scans preprocessed by another version of cov3d "
                f"({info.versions.get('cov3d', 'unknown')}): predict with that version, or train again"
            )
        if members and info.categories != members[0].info.categories:
            raise CheckpointError(
                f"{file} has the categories {', '.join(info.categories)}, but {files[0]} has "
                f"{', '.join(members[0].info.categories)}: they can't be averaged"
            )
        if not fitted_temperature:
            info = replace(info, temperature=None)
        members.append(Member(fold_batch_norms(model).to(device).to(memory_format=layout), info, file))
    return members


def arithmetic(precision: str, device: torch.device, *, explain: bool) -> str | None:
    """The mixed precision to predict in: `bf16` or `fp16`, None for float32.

    Args:
        precision: `auto`, `fp32`, `bf16` or `fp16`.
        device: to predict on.
        explain: whether class maps are computed, which add up in float32 only.

    Raises:
        Cov3dError: there is no such precision, or the device does not support it; or half precision is requested
            together with explanations.
    """
    if precision not in list(Precision):
        raise Cov3dError(f"precision must be one of {', '.join(Precision)}, not {precision!r}")
    if explain and precision in (Precision.BF16, Precision.FP16):
        raise Cov3dError(f"--explain and --precision {precision} cannot be combined: maps add up in fp32 only")
    return None if explain else amp_mode(Precision(precision), device)


@dataclass(frozen=True)
class Extras:
    """What to compute beside the probabilities.

    Attributes:
        draw: previews of the scans and their crops.
        explain: what spoke for each prediction.
        dropout_passes: number of predictions with dropout on, from which a spread is computed; 0 for none.
    """

    draw: bool = False
    explain: bool = False
    dropout_passes: int = 0


NO_EXTRAS = Extras()


@dataclass(frozen=True)
class ScanPrediction:
    """The prediction of a raw scan, or the error.

    Attributes:
        scan: name of the scan.
        probabilities: of each member, shape (members, categories); None if the scan can't be read.
        record: how the scan was preprocessed, with the columns of a store's manifest.
        error: why the scan can't be read; None if it can.
        preview: a picture of the scan and its crop (WebP), if requested.
        geometry: where its voxels are in its file and in the patient; None if unknown.
        explanation: what spoke for the prediction, if requested.
        dropout_presence: probability of COVID-19 of each pass with dropout on, shape (passes,), if requested.
    """

    scan: str
    probabilities: NDArray[np.float32] | None = None
    record: dict[str, Any] = field(default_factory=dict)
    error: str | None = None
    preview: bytes | None = None
    geometry: Geometry | None = None
    explanation: Explanation | None = None
    dropout_presence: NDArray[np.float32] | None = None


@dataclass(frozen=True)
class Networks:
    """Networks on a device.

    Attributes:
        members: the networks; their input sizes may differ.
        device: where they are.
        amp: `bf16` or `fp16` for mixed precision, None for float32.
    """

    members: Sequence[Member]
    device: torch.device
    amp: str | None = None

    def predict_batches(
        self, batches: Iterable[Sequence[RawScan]], extras: Extras = NO_EXTRAS
    ) -> Iterator[ScanPrediction]:
        """Predict the scans of batches, in order.

        Args:
            batches: preprocessed scans, or their errors.
            extras: what to compute beside the probabilities.
        """
        begun: deque[_Begun] = deque()
        try:
            for batch in batches:
                begun.append(self._begin(batch, extras))
                if len(begun) > self._batches_ahead(extras):
                    yield from self._results(begun.popleft(), extras)
        except Exception:
            for one in begun:  # what is computed is not lost
                yield from self._results(one, extras)
            raise
        for one in begun:
            yield from self._results(one, extras)

    def _batches_ahead(self, extras: Extras) -> int:
        """Number of batches to begin before the results of an earlier one are taken: a GPU then has work."""
        return 1 if self.device.type == "cuda" and not (extras.explain or extras.dropout_passes) else 0

    def check_dropout(self) -> None:
        """Check that dropout can be switched on in every network.

        Raises:
            Cov3dError: a network has none.
        """
        for member in self.members:
            if not any(isinstance(layer, _DROPOUT) and layer.p > 0 for layer in member.model.modules()):
                raise Cov3dError(
                    f"{member.file or member.info.architecture} has no dropout: leave --mc-dropout out, or give "
                    "several checkpoints, whose spread is computed"
                )

    def _begin(self, batch: Sequence[RawScan], extras: Extras) -> "_Begun":
        readable = [item for item in batch if item.error is None]
        if not readable:
            return _Begun(batch)
        with watching(self.members) if extras.explain else nullcontext() as views:
            voxels = {size: torch.stack([item.voxels[size] for item in readable]) for size in self.sizes}
            copy = HostCopy()
            (each,) = copy.take({"each": self._launch(voxels)}).values()
            return _Begun(batch, copy, each, views(len(readable)) if views is not None else [])

    def _results(self, begun: "_Begun", extras: Extras) -> Iterator[ScanPrediction]:
        begun.copy.wait()
        each = np.stack([one.numpy() for one in begun.each]) if begun.each else np.empty((0, 0, 0), np.float32)
        number = 0
        for item in begun.batch:
            if item.error is not None:
                yield ScanPrediction(item.scan, error=item.error)
                continue
            alone = {size: item.voxels[size][None] for size in self.sizes}
            yield ScanPrediction(
                item.scan,
                each[:, number],
                {"scan": item.scan, **item.record},
                preview=item.preview,
                geometry=item.geometry,
                explanation=self._explained(item, each[:, number], begun.seen[number]) if begun.seen else None,
                dropout_presence=self._with_dropout(alone, extras.dropout_passes) if extras.dropout_passes else None,
            )
            number += 1

    @property
    def sizes(self) -> list[Size]:
        """The sizes of the networks' inputs."""
        return sorted({member.info.size for member in self.members})

    def probabilities(self, voxels: Mapping[Size, Tensor]) -> NDArray[np.float32]:
        """Of a batch, by size: shape (members, scans, categories)."""
        return np.stack([one.cpu().numpy() for one in self._launch(voxels)])

    def _launch(self, voxels: Mapping[Size, Tensor]) -> list[Tensor]:
        with torch.inference_mode():
            return [launched(member, voxels[member.info.size], self.device, self.amp) for member in self.members]

    def _explained(self, item: RawScan, probabilities: NDArray[np.float32], seen: ScanViews) -> Explanation:
        def predict(voxels: Mapping[Size, Tensor]) -> NDArray[np.float32]:
            return self.probabilities({size: one[None] for size, one in voxels.items()})[:, 0]

        return explain(seen, self.members, item.voxels, item.zones, probabilities, predict)

    def _with_dropout(self, voxels: Mapping[Size, Tensor], passes: int) -> NDArray[np.float32]:
        """Probability of COVID-19 in each pass; the same whatever is predicted beside the scan."""
        with (
            torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else []),
            dropout_on(self.members),
        ):
            torch.manual_seed(0)
            return np.stack([1.0 - self.probabilities(voxels)[:, 0, 0].mean() for _ in range(passes)])


@dataclass(frozen=True)
class _Begun:
    """A batch that a GPU may still be computing.

    Attributes:
        batch: the scans, also those that can't be read.
        copy: tells when the probabilities have come; they follow this batch, and do not wait for a later one.
        each: probabilities of the scans that can be read, (scans, categories) of each member.
        seen: their forward passes, if they are to be explained.
    """

    batch: Sequence[RawScan]
    copy: HostCopy = field(default_factory=HostCopy)
    each: Sequence[Tensor] = ()
    seen: Sequence[ScanViews] = ()


def probabilities_of(
    member: Member, voxels: Tensor, device: torch.device, amp: str | None = None
) -> NDArray[np.float32]:
    """Probabilities (scans, categories) of a batch of voxels (`uint8`), averaged over reflection."""
    return launched(member, voxels, device, amp).cpu().numpy()


def launched(member: Member, voxels: Tensor, device: torch.device, amp: str | None = None) -> Tensor:
    """What `probabilities_of` returns, on the device; a GPU may still be computing it."""
    if device.type == "cuda" and not voxels.is_pinned():
        voxels = voxels.pin_memory()  # without it, the GPU's queue is emptied before the copy
    volumes = to_network_input(voxels.to(device, non_blocking=True))
    temperature = member.info.temperature or 1.0
    dtype = {None: None, "bf16": torch.bfloat16, "fp16": torch.float16}[amp]
    with torch.autocast(device.type, dtype, enabled=dtype is not None):
        return reflected_probabilities(member.model, volumes, temperature=temperature)


@contextmanager
def dropout_on(members: Sequence[Member]) -> Iterator[None]:
    """Switch the dropout of networks on in the block; everything else stays in evaluation mode."""
    layers = [module for member in members for module in member.model.modules() if isinstance(module, _DROPOUT)]
    for layer in layers:
        layer.train()
    try:
        yield
    finally:
        for layer in layers:
            layer.eval()
