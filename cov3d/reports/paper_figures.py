"""The paper's first figure, the number of slices per scan. The second, labels by fold, is `figures.folds`."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from cov3d.reports.figures import BLUE, ORANGE, SKY

_COLOURS = {"train": BLUE, "validation": ORANGE, "test": SKY}
_LINES = {"train": "-", "validation": "--", "test": ":"}
_TICKS = (1, 2, 3, 5, 10, 20, 30, 50, 100, 200, 300, 500, 1000, 2000)
_BINS_A_DECADE = 20


def slices(found: Mapping[str, Sequence[int]]) -> Figure:
    """Number of scans by number of slices, both on logarithmic axes (Figure 1 of the paper).

    Partitions are drawn as overlapping outlines, not stacked, because heights do not add up on a logarithmic axis.

    Args:
        found: number of slices of each scan, by partition.
    """
    figure = Figure(figsize=(9, 4.0), layout="constrained")
    axes = figure.subplots()
    every = np.concatenate([np.asarray(counts, dtype=float) for counts in found.values()])
    low, high = every.min(), every.max()
    number = max(int(np.ceil(_BINS_A_DECADE * np.log10(high / low))), 1) if high > low else 1
    edges = np.geomspace(low / 1.02, high * 1.02, number + 1)
    drawn: Any = axes.hist(
        list(found.values()),
        bins=edges.tolist(),
        histtype="step",
        label=[f"{name} ({len(counts)})" for name, counts in found.items()],
        color=[_COLOURS.get(name, BLUE) for name in found],
        linewidth=1.8,
    )[2]
    parts = drawn if len(found) > 1 else [drawn]
    for name, outlines in zip(found, parts, strict=True):
        for outline in outlines:
            outline.set_linestyle(_LINES.get(name, "-"))
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_ylim(bottom=0.8)
    axes.xaxis.set_major_locator(FixedLocator(_TICKS))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_locator(NullLocator())
    median = f"median {np.median(every):g}, from {low:g} to {high:g}"
    axes.set(xlabel="slices per scan", ylabel="scans", title=f"Slices per scan ({median})")
    axes.grid(alpha=0.3)
    axes.set_axisbelow(True)
    axes.legend(ncols=len(found), loc="upper center", bbox_to_anchor=(0.5, -0.16), frameon=False)
    return figure
