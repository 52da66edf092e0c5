"""Keywords of a call → the options of a run and how it is computed.

The keywords are the fields of `TrainingOptions` and `Compute`, which stand once, there. None stands for the default, as
on the command line; an enumeration may be given as text, several numbers as any sequence.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from enum import StrEnum
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, get_args, get_origin, get_type_hints

from cov3d.challenge.experiments import options_of
from cov3d.errors import Cov3dError
from cov3d.processors import default_workers
from cov3d.training.hyper_parameters import hyper_parameters
from cov3d.training.options import Compute, TrainingOptions

if TYPE_CHECKING:  # they load torch
    import torch

    from cov3d.training.distributed import World


@dataclass(frozen=True)
class Computation:
    """Where and how a run is computed.

    Attributes:
        device: what torch computes on.
        world: this process's place among those that train together.
        compute: what changes speed and memory.
    """

    device: "torch.device"
    world: "World"
    compute: Compute


def training_options(
    options: TrainingOptions | None, given: Mapping[str, Any], fold: int | None = None
) -> TrainingOptions:
    """The options of a run: as given, else the experiment's, else the paper's defaults.

    Args:
        options: all of them at once; then no single one may be given, but `fold`.
        given: single ones by name; names of `Compute` are left alone.
        fold: to validate on; None for that of the options.

    Raises:
        Cov3dError: there is no such experiment, or a value can't be trained with.
        TypeError: a name is no hyper-parameter, or is given beside `options`.
    """
    values = _of(TrainingOptions, given)
    if options is None:
        number = values.pop("experiment", None)
        return options_of(number, **values, **({} if fold is None else {"fold": fold}))
    if values:
        raise TypeError(f"give either options or {', '.join(values)}, not both")
    return options if fold is None else replace(options, fold=fold)


def computation(device: str, compute: Compute | None, given: Mapping[str, Any]) -> Computation:
    """The device, this process's place among those of the run, and how to compute.

    Args:
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        compute: all of it at once; then no single field may be given.
        given: single fields by name; names of `TrainingOptions` are left alone.

    Raises:
        Cov3dError: there is no such device.
        TypeError: a name is no hyper-parameter, or is given beside `compute`.
    """
    from cov3d.training.device import choose_device
    from cov3d.training.distributed import launched

    values = _of(Compute, given)
    if compute is not None and values:
        raise TypeError(f"give either compute or {', '.join(values)}, not both")
    world = launched()
    target = choose_device(device, world.local_rank)
    if compute is None:
        workers = default_workers(values.pop("workers", None), target.type, world.local_size)
        compute = Compute(workers=workers, **values)
    return Computation(target, world, compute)


def compute_fields(given: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the keywords that are fields of `Compute`."""
    return {name: value for name, value in given.items() if name in hyper_parameters(Compute)}


def _of(options: type, given: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a dataclass of hyper-parameters that are given, in their types."""
    known = {**hyper_parameters(TrainingOptions), **hyper_parameters(Compute)}
    for name in given:
        if name not in known:
            close = get_close_matches(name, known, n=1)
            meant = f"; did you mean {close[0]}?" if close else ""
            raise TypeError(f"{name} is neither an argument nor a hyper-parameter{meant}")
    kinds, names = get_type_hints(options), hyper_parameters(options)
    return {name: _as(kinds[name], name, value) for name, value in given.items() if name in names and value is not None}


def _as(kind: Any, name: str, value: Any) -> Any:
    """A value in the type of its field."""
    if get_origin(kind) is tuple:
        return tuple(_number(float, name, one) for one in value)
    plain = next((one for one in get_args(kind) if one is not type(None)), kind)
    if plain in (int, float):
        return _number(plain, name, value)
    if plain is bool and not isinstance(value, bool):
        raise Cov3dError(f"{name} is True or False, not {value!r}")
    if not issubclass(plain, StrEnum):
        return value
    try:
        return plain(value)
    except ValueError:
        raise Cov3dError(f"{name} is one of {', '.join(plain)}, not {value!r}") from None


def _number(kind: type, name: str, value: Any) -> Any:
    wanted, words = (Integral, "a whole number") if kind is int else (Real, "a number")
    if not isinstance(value, wanted) or isinstance(value, bool):
        raise Cov3dError(f"{name} is {words}, not {value!r}")
    return kind(value)
