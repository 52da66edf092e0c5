"""CC-CCII (China Consortium of Chest CT Image Investigation) → scans with labels and patients.

`{NCP,CP,Normal}/<patient>/<scan>/<slice>.jpg` (or `.png`). NCP is pneumonia by SARS-CoV-2; CP (common pneumonia) and
Normal are non-COVID. The parts of the archive, such as `NCP-1` and `CP-32`, may each be a folder. A patient has up to
11 scans.
"""

import re
from collections.abc import Collection
from pathlib import Path

from cov3d.datasets import by_patient
from cov3d.datasets.found import Found
from cov3d.labels import NON_COVID, UNKNOWN_SEVERITY

NAME = "CC-CCII"
_SHAPE = by_patient.Shape(
    labels={"ncp": UNKNOWN_SEVERITY, "cp": NON_COVID, "normal": NON_COVID},
    pattern=re.compile(r"(ncp|cp|normal)[0-9]{0,3}"),
    words="NCP, CP and Normal",
)


def is_ccccii(root: Path) -> bool:
    """Whether `root` has the folder NCP, or CP and Normal."""
    classes = set(_SHAPE.classes(root).values())
    return "ncp" in classes or {"cp", "normal"} <= classes


def find(root: Path, known: Collection[Path] = ()) -> Found:
    """Every scan under `root` with its label and its patient; see `by_patient.find`."""
    return by_patient.find(root, _SHAPE, known)
