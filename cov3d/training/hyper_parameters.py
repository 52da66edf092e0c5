"""What a hyper-parameter is: a dataclass field that carries its help, its range and what may be searched of it.

It stands once. The command line, the checks, the search space and the documentation are made from the field.
"""

from collections.abc import Mapping
from dataclasses import Field, dataclass, field, fields
from math import isfinite
from typing import Any

from cov3d.errors import Cov3dError
from cov3d.training.dimensions import Dimension

MODEL, LOSS, OPTIMISATION = "Model", "Loss (section 3.2)", "Optimisation"
AUGMENTATION, COMPUTE, EXPERIMENT, INPUT = "Augmentation (equation 8)", "Compute", "Experiment (Table 5)", "Input"
"""The panels of the help."""

_KEY = "hyper-parameter"


@dataclass(frozen=True)
class Bounds:
    """The numbers that are allowed. They are always finite.

    Attributes:
        low, high: the ends; None where there is none.
        low_open, high_open: whether an end itself is not allowed.
    """

    low: float | None = None
    high: float | None = None
    low_open: bool = False
    high_open: bool = False

    def __contains__(self, value: float) -> bool:
        above = self.low is None or value > self.low or (value == self.low and not self.low_open)
        under = self.high is None or value < self.high or (value == self.high and not self.high_open)
        return isfinite(value) and above and under

    def __str__(self) -> str:
        if self.high is None:
            return f"above {self.low:g}" if self.low_open else f"{self.low:g} or more"
        high = f"below {self.high:.10g}" if self.high_open else f"{self.high:.10g}"
        return f"from {self.low:g} to {high}"


@dataclass(frozen=True)
class HyperParameter:
    """What a field says of itself.

    Attributes:
        help: one or two sentences for the command line and the documentation.
        panel: of the help.
        bounds: of a number, or of each number of several; None for anything else.
        search: the range that `cov3d tune` may search; None where it can't.
        shown_default: the default in words, where that is not the value.
        cli_type: the type on the command line, where that is not the field's.
    """

    help: str
    panel: str
    bounds: Bounds | None = None
    search: Dimension | None = None
    shown_default: str | None = None
    cli_type: Any = None


def hyper(
    default: Any,
    help: str,
    panel: str = MODEL,
    *,
    bounds: Bounds | None = None,
    search: Dimension | None = None,
    shown_default: str | None = None,
    cli_type: Any = None,
) -> Any:
    """A dataclass field that is a hyper-parameter; arguments as the attributes of `HyperParameter`."""
    said = HyperParameter(help, panel, bounds, search, shown_default, cli_type)
    return field(default=default, metadata={_KEY: said})


def hyper_parameters(options: Any) -> Mapping[str, tuple[Field[Any], HyperParameter]]:
    """The fields of a dataclass that are hyper-parameters, in order."""
    return {item.name: (item, item.metadata[_KEY]) for item in fields(options) if _KEY in item.metadata}


def check_bounds(options: Any) -> None:
    """Refuse a value that is out of its range; None passes where it is the default.

    Raises:
        Cov3dError: the sentence names the option.
    """
    for name, (item, said) in hyper_parameters(options).items():
        value = getattr(options, name)
        if said.bounds is None or (value is None and item.default is None):
            continue
        for number in value if isinstance(value, tuple) else (value,):
            if number not in said.bounds:
                raise Cov3dError(f"--{name.replace('_', '-')} must be {said.bounds}, not {number}")
