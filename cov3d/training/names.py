"""The names of a run's files that more than one module reads or writes; apart, so that reading them loads no torch."""

CONFIG = "config.json"
SCANS = "fold.csv"
HISTORY = "history.csv"
CURVES = "curves.png"
