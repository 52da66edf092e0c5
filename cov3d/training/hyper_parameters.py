"""Hyper-parameters: dataclass fields with their help, bounds and search range.

Each is declared once. The command line, the checks, the search space and the documentation are made from the field.
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
    """A range of allowed numbers, which must be finite.

    Attributes:
        low, high: the ends; None for no bound.
        low_open, high_open: whether the end itself is excluded.
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
    """The metadata of a hyper-parameter's field.

    Attributes:
        help: one or two sentences for the command line and the documentation.
        panel: of the help.
        bounds: of the number, or of each of several numbers; None for other types.
        search: the range that `cov3d tune` may search; None if it can't be searched.
        shown_default: the default in words, if the help should not show the value.
        cli_type: the type on the command line, if it differs from the field's.
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
    parameter = HyperParameter(help, panel, bounds, search, shown_default, cli_type)
    return field(default=default, metadata={_KEY: parameter})


def hyper_parameters(options: Any) -> Mapping[str, tuple[Field[Any], HyperParameter]]:
    """The fields of a dataclass that are hyper-parameters, in order."""
    return {item.name: (item, item.metadata[_KEY]) for item in fields(options) if _KEY in item.metadata}


def check_bounds(options: Any) -> None:
    """Check that all values are within their bounds. None is allowed if it is the default.

    Raises:
        Cov3dError: a value is not; the message names the option.
    """
    for name, (item, parameter) in hyper_parameters(options).items():
        value = getattr(options, name)
        if parameter.bounds is None or (value is None and item.default is None):
            continue
        for number in value if isinstance(value, tuple) else (value,):
            if number not in parameter.bounds:
                raise Cov3dError(f"--{name.replace('_', '-')} must be {parameter.bounds}, not {number}")
