"""The sharpness of a convolution kernel, from 0 (smooth) to 100 (sharp), by its name. Unknown kernels are medium."""

import re

MEDIUM = 40
SHARP = 50
"""Kernels of at least this sharpness are sharp."""

_GE = {
    **{"SOFT": 20, "STANDARD": 40, "STND": 40, "CHST": 40, "DETAIL": 45, "LUNG": 60, "BONE": 70, "BONEPLUS": 75},
    **{"EDGE": 80, "ULTRA": 85},
}
_PHILIPS = {"A": 30, "B": 40, "C": 50, "D": 60, "E": 70, "L": 60, "YA": 40, "YB": 50, "YC": 60, "YD": 70, "YE": 75}
_SIEMENS = re.compile(r"^[A-Z][A-Z]?(\d{2,3})[A-Z]?\b")
_CANON = re.compile(r"^FC(\d{2})")


def sharpness(kernel: str) -> int:
    """The sharpness of a kernel by its name: `B60f` of Siemens, `LUNG` of GE, `FC51` of Canon, `YC` of Philips."""
    name = kernel.upper().strip()
    if found := _CANON.match(name):
        number = int(found[1])
        return 70 if number >= 80 else 60 if number >= 50 else 45 if number >= 30 else 35
    if found := _SIEMENS.match(name):
        return min(int(found[1]), 100)
    first = name.split()[0] if name.split() else ""
    return _GE.get(first, _PHILIPS.get(first, MEDIUM))
