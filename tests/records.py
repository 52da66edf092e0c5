"""The record of a scan about which there is no doubt, for tests to change."""

from typing import Any

GOOD: dict[str, Any] = {
    **{"slices_found": 60, "slices_used": 60, "depth": 60, "height": 512, "width": 512},
    **{"z0": 6, "z1": 48, "y0": 100, "y1": 400, "x0": 60, "x1": 460, "crop": "lungs"},
    **{"lung_share": 0.2, "lung_ml": None, "spacing_z": None, "spacing_y": None, "spacing_x": None},
    **{"left_share": 0.46, "opacity": 0.05, "notes": ""},
    **{"outside_box": 0.0, "other_air": 0.002, "step": 0.08, "beyond": 0.04, "cut_above": 0.0, "cut_below": 0.0},
}
