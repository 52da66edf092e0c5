"""cov3d: detect COVID-19 and predict its severity from 3-D chest CT. Research use only.

The commands are also functions: `cov3d.preprocess`, `cov3d.train`, `cov3d.crossval`, `cov3d.evaluate`,
`cov3d.predict`. `cov3d.Predictor` keeps networks loaded. Each is imported, with torch if needed, when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cov3d.api.crossval import crossval as crossval
    from cov3d.api.evaluation import evaluate as evaluate
    from cov3d.api.prediction import predict as predict
    from cov3d.api.preprocessing import preprocess as preprocess
    from cov3d.api.training import train as train
    from cov3d.inference.predictor import Predictor as Predictor

__version__ = "0.1.0"

_API = {
    "preprocess": "cov3d.api.preprocessing",
    "train": "cov3d.api.training",
    "crossval": "cov3d.api.crossval",
    "evaluate": "cov3d.api.evaluation",
    "predict": "cov3d.api.prediction",
    "Predictor": "cov3d.inference.predictor",
}


def __getattr__(name: str) -> Any:
    if name not in _API:
        raise AttributeError(f"module 'cov3d' has no attribute {name!r}")
    return getattr(import_module(_API[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_API])
