"""Short, unique titles for the entries of a report: experiment or network, size, fold, seed.

The name of a run's folder, which has all options and may be a hundred characters long, is among the settings.
"""

from collections import Counter
from collections.abc import Mapping, Sequence

from cov3d.reports.entries import ReportEntry
from cov3d.reports.sources import SourceKind

_MOST = 3
"""Maximum number of differing settings added to a title."""

_IN_TITLE = ("experiment", "architecture", "size", "fold", "seed")


def titles(entries: Sequence[ReportEntry]) -> list[str]:
    """The titles, in the order of the entries.

    Up to three differing settings are added to equal titles, and a number if they are still equal.
    """
    short = [_short(entry) for entry in entries]
    longer = []
    for entry, title in zip(entries, short, strict=True):
        alike = [other.settings for other, its in zip(entries, short, strict=True) if its == title]
        longer.append(", ".join([title, *_differing(entry.settings, alike)]))
    total, seen = Counter(longer), Counter[str]()
    for place, title in enumerate(longer):
        seen[title] += 1
        if total[title] > 1:
            longer[place] = f"{title} ({seen[title]})"
    return longer


def _short(entry: ReportEntry) -> str:
    settings = entry.settings
    if "architecture" not in settings:
        return entry.name
    network = " ".join(filter(None, (settings["architecture"], settings.get("size"))))
    number = settings.get("experiment", "–")
    parts = [network if number == "–" else f"Experiment {number}: {network}"]
    if entry.source.kind == SourceKind.CROSSVAL and entry.folds is not None:
        parts.append(f"{entry.folds['fold'].nunique()} folds")
    parts += [f"{name} {settings[name]}" for name in ("fold", "seed") if name in settings]
    return ", ".join(parts)


def _differing(settings: Mapping[str, str], alike: Sequence[Mapping[str, str]]) -> list[str]:
    """Settings that differ between entries with the same title, as `name value`."""
    names = [name for name in settings if name not in _IN_TITLE and len({one.get(name) for one in alike}) > 1]
    return [f"{name} {settings[name]}" for name in names[:_MOST]]
