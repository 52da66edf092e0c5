"""The formats of exported networks, without torch."""

from enum import StrEnum


class ExportFormat(StrEnum):
    """The format of an exported network."""

    ONNX = "onnx"
    TORCH = "torch"

    @property
    def suffix(self) -> str:
        """The ending of its files."""
        return ".onnx" if self == ExportFormat.ONNX else ".pt2"
