"""The first layers of a convolutional network in slabs of slices, so that a laptop's memory is enough for them."""

from collections.abc import Callable, Sequence
from math import prod

import torch
from torch import Tensor, nn

_MOST_BYTES = 128 * 2**20
"""Aim for the largest activation of a slab."""
_LEAST_SLICES = 16
"""In thinner slabs, the slices at both sides that are computed twice would take too long."""
_WORTHWHILE = 256 * 2**20
"""Bytes of a whole activation from which slabs are used."""


def depth_stride(layers: nn.Module) -> int:
    """Slices of the input to each slice of the output of layers with at most one strided convolution in a row."""
    return max([1, *(int(layer.stride[0]) for layer in layers.modules() if isinstance(layer, nn.Conv3d))])


def slices_that_fit(volumes: Tensor, channels: int, plane_stride: int) -> int | None:
    """Slices of a slab; None where slabs are not needed, or the network is traced, trained or on another device.

    Args:
        volumes: (batch, 1, depth, height, width).
        channels: of the largest activation, which has all slices.
        plane_stride: voxels of a volume to each of its cells, along height and width.
    """
    is_plain = volumes.device.type == "cpu" and not torch.is_grad_enabled()
    if not is_plain or torch.compiler.is_compiling() or torch.jit.is_tracing():
        return None
    batch, _, depth, height, width = volumes.shape
    slice_bytes = channels * (height // plane_stride) * (width // plane_stride) * 4
    if batch * depth * slice_bytes <= _WORTHWHILE:
        return None
    return max(_LEAST_SLICES, _MOST_BYTES // slice_bytes)


class Stage:
    """Layers that get the slices of a volume in slabs, and give those of their result that they already can.

    The layers pad at the ends of what they get. So each slab is preceded by the last slices before it, and a slice of
    the result is given when all slices that it sees are there: the padding reaches only what is cut off, except at the
    first and the last slice, where it belongs. The result is the same as of all slices at once.

    Args:
        layers: convolutions and operations on single cells.
        halo: slices at each side that a slice of the result sees.
        stride: slices to each slice of the result.
    """

    def __init__(self, layers: Callable[[Tensor], Tensor], halo: int, stride: int = 1) -> None:
        self.layers, self.stride = layers, stride
        self.halo = -(-halo // stride) * stride
        self._kept: Tensor | None = None
        self._done = 0  # slices of `_kept` whose result was given

    def __call__(self, slab: Tensor, *, is_last: bool) -> Tensor:
        """The next slices of the result; `slab` has the next slices."""
        values = slab if self._kept is None else _joined(self._kept, slab)
        depth = values.shape[2]
        ready = depth if is_last else max(self._done, (depth - self.halo) // self.stride * self.stride)
        found = self.layers(values)[:, :, self._done // self.stride : -(-ready // self.stride)]
        begin = max(0, ready - self.halo)
        self._kept, self._done = _joined(values[:, :, begin:]), ready - begin
        return found


def in_slabs(stages: Sequence[Stage], volume: Tensor, slices: int) -> Tensor:
    """Pass a volume through stages in slabs, so that no activation exists with all slices but the last.

    Args:
        stages: new ones.
        volume: (1, channels, depth, height, width).
        slices: of a slab.
    """
    depth, stride = volume.shape[2], prod(stage.stride for stage in stages)
    joined: Tensor | None = None
    filled = 0
    for begin in range(0, depth, slices):
        slab = volume[:, :, begin : begin + slices]
        for stage in stages:
            slab = stage(slab, is_last=begin + slices >= depth)
        if joined is None:
            joined = _empty((1, slab.shape[1], -(-depth // stride), *slab.shape[3:]), slab.dtype)
        joined[:, :, filled : filled + slab.shape[2]] = slab
        filled += slab.shape[2]
    assert joined is not None
    return joined


def _joined(*parts: Tensor) -> Tensor:
    """A copy of parts, one after another along the depth, with channels innermost, as convolutions need them."""
    batch, channels, _, height, width = parts[0].shape
    copy = _empty((batch, channels, sum(part.shape[2] for part in parts), height, width), parts[0].dtype)
    begin = 0
    for part in parts:
        copy[:, :, begin : begin + part.shape[2]] = part
        begin += part.shape[2]
    return copy


def _empty(shape: Sequence[int], dtype: torch.dtype) -> Tensor:
    return torch.empty(*shape, dtype=dtype, memory_format=torch.channels_last_3d)
