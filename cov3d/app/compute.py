"""The options of how a run is computed."""


def compute_options(self: object, device: str = "auto", **given: object) -> dict[str, object]:
    """Declare `--device` and the fields of `Compute` (`declarations`); they are keywords of `cov3d.train`."""
    return {"device": device, **given}
