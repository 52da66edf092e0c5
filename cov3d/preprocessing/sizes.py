"""The sizes that a cropped scan is resized to: Table 3 of the paper, and `tiny` for tests and the demo."""

from enum import StrEnum


class Size(StrEnum):
    """A preset size of a network's input."""

    TINY = "tiny"
    SMALL = "small"
    MEDIUM = "medium"
    LARGE = "large"

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels along (depth, height, width)."""
        return _SHAPES[self]


_SHAPES = {
    Size.TINY: (32, 64, 64),
    Size.SMALL: (64, 128, 128),
    Size.MEDIUM: (256, 176, 256),
    Size.LARGE: (320, 224, 320),
}
