"""The options of how a run is computed."""

from typing import Any


def compute_options(self: object, device: str = "auto", **given: Any) -> dict[str, Any]:
    """Declare `--device` and the fields of `Compute` (`declarations`); they are keywords of `cov3d.train`."""
    return {"device": device, **given}
