"""The fields of a dataclass of hyper-parameters → options on the command line."""

from enum import StrEnum
from inspect import Parameter, Signature
from typing import get_args

from torchapp import Param

from cov3d.training.hyper_parameters import HyperParameter, hyper_parameters
from cov3d.training.options import Compute, TrainingOptions


def signature(options: type[TrainingOptions | Compute], **others: Param) -> Signature:
    """The signature of a function that takes each hyper-parameter of the dataclass `options` as an option.

    An option that is not given is None, so that an experiment's value can take its place, and so that an option that
    is given wins over the experiment's also where it equals the default. The help says the default.

    Args:
        options: the dataclass.
        others: further options that are words.
    """
    parameters = [
        Parameter(name, Parameter.POSITIONAL_OR_KEYWORD, default=_option(name, item.default, hyper), annotation=kind)
        for name, (item, hyper) in hyper_parameters(options).items()
        for kind in [hyper.cli_type or _plain_type(item.type)]
    ]
    first = [
        Parameter(name, Parameter.POSITIONAL_OR_KEYWORD, default=option, annotation=str)
        for name, option in others.items()
    ]
    return Signature([Parameter("self", Parameter.POSITIONAL_OR_KEYWORD), *first, *parameters])


def _option(name: str, default: object, hyper: HyperParameter) -> Param:
    text = hyper.help if hyper.bounds is None else f"{hyper.help.removesuffix('.')}; {hyper.bounds}."
    shown = hyper.shown_default if hyper.shown_default is not None else _in_words(name, default)
    return Param(None, help=text, show_default=shown or False, rich_help_panel=hyper.panel)


def _in_words(name: str, default: object) -> str:
    if isinstance(default, bool):
        return ("" if default else "no-") + name.replace("_", "-")
    return default.value if isinstance(default, StrEnum) else f"{default:g}"


def _plain_type(annotation: object) -> object:
    """The type without None."""
    kinds = [kind for kind in get_args(annotation) if kind is not type(None)]
    return kinds[0] if kinds else annotation
