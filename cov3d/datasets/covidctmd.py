"""COVID-CT-MD → scans with labels and patients.

`{COVID-19,Cap,Normal} {Cases,subjects}/<id>/*.dcm`, an id a patient. Cap (community-acquired pneumonia) and Normal are
non-COVID.
"""

import re
from collections.abc import Collection
from pathlib import Path

from cov3d.datasets import by_patient
from cov3d.datasets.found import Found
from cov3d.labels import NON_COVID, UNKNOWN_SEVERITY

NAME = "COVID-CT-MD"
_SHAPE = by_patient.Shape(
    labels={"covid19": UNKNOWN_SEVERITY, "cap": NON_COVID, "normal": NON_COVID},
    pattern=re.compile(r"(covid19|cap|normal)(?:cases|case|subjects|subject)"),
    words="COVID-19, Cap and Normal Cases",
)


def is_covidctmd(root: Path) -> bool:
    """Whether `root` has a folder of COVID-CT-MD's classes."""
    return bool(_SHAPE.classes(root))


def find(root: Path, known: Collection[Path] = ()) -> Found:
    """Every scan under `root` with its label and its patient; see `by_patient.find`."""
    return by_patient.find(root, _SHAPE, known)
