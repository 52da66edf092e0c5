"""Choose torch's device and precision from `--device` and `--precision`."""

import re

import torch

from cov3d.errors import Cov3dError
from cov3d.training.options import Precision


def choose_device(name: str, local_rank: int = 0) -> torch.device:
    """The device of `auto`, `cpu`, `cuda` or `cuda:N`.

    Args:
        name: given by the user.
        local_rank: number of this process among the run's processes on this machine. `auto` and `cuda` select one GPU
            for each.

    Raises:
        Cov3dError: the name is not valid, or there is no such device.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if not re.fullmatch(r"cpu|cuda(:\d+)?", name):
        raise Cov3dError(f"--device must be auto, cpu, cuda or cuda:N, not {name!r}")
    if name == "cpu":
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise Cov3dError(f"--device {name}: torch finds no CUDA device; use --device cpu")
    _, _, number = name.partition(":")
    if local_rank and number:
        raise Cov3dError(f"--device {name}: each process of torchrun needs its own GPU; give --device cuda")
    index = int(number) if number else local_rank or torch.cuda.current_device()
    if index >= torch.cuda.device_count():
        if local_rank and not number:
            raise Cov3dError(
                f"this machine has only {torch.cuda.device_count()} CUDA devices: lower torchrun's --nproc-per-node"
            )
        raise Cov3dError(f"--device {name}: the CUDA devices are 0 to {torch.cuda.device_count() - 1}")
    return torch.device("cuda", index)


def amp_mode(precision: Precision, device: torch.device) -> str | None:
    """`bf16` or `fp16` for mixed precision, None for float32.

    Raises:
        Cov3dError: fp16 is requested without a CUDA device, or bf16 on a card that does not support it.
    """
    on_gpu = device.type == "cuda"
    if precision == Precision.AUTO:
        if not on_gpu:
            return None
        return "fp16"  # faster than bf16: docs/training.md
    if precision == Precision.FP32:
        return None
    if not on_gpu and precision == Precision.FP16:
        raise Cov3dError(f"--precision fp16 needs a CUDA device; use --precision fp32 on {device.type}")
    if on_gpu and precision == Precision.BF16 and not torch.cuda.is_bf16_supported(including_emulation=False):
        raise Cov3dError("--precision bf16: this card does not support bfloat16; use fp16 or fp32")
    return precision.value
