"""Tables of the paper's experiments and ensembles for the terminal."""

from collections.abc import Iterable

from rich import box
from rich.table import Table

from cov3d.challenge.experiments import Ensemble, Experiment, PaperScore

_SETTINGS = ("#", "net", "size", "STOIC", "drop.", "λ", "σ_b", "σ_c", "ep.")


def experiment_table(rows: Iterable[Experiment]) -> Table:
    """Table 5: the hyper-parameters, and the paper's macro F1 of both tasks in percent."""
    table = _table("The paper's experiments (Table 5), macro F1 in percent")
    for column in _SETTINGS:
        table.add_column(column, justify="left" if column in ("net", "size", "STOIC") else "right")
    for column in ("pres.", "CV", "sev.", "CV"):
        table.add_column(column, justify="right")
    for row in rows:
        table.add_row(
            str(row.number),
            row.architecture.value,
            row.size.value,
            "yes" if row.stoic else "no",
            "–" if row.dropout is None else str(row.dropout),
            *map(str, (row.emd_weight, row.brightness, row.contrast, row.epochs)),
            *_cells(row.presence),
            *_cells(row.severity),
        )
    return table


def ensemble_table(rows: Iterable[Ensemble]) -> Table:
    """Tables 6 and 7: the members of the ensembles, and their macro F1 in the paper."""
    table = _table("Its ensembles (Tables 6 and 7)")
    for column in ("name", "task", "experiments"):
        table.add_column(column)
    for column in ("macro F1", "CV"):
        table.add_column(column, justify="right")
    for row in rows:
        table.add_row(row.name, row.task, ", ".join(map(str, row.experiments)), *_cells(row.score))
    return table


def _table(title: str) -> Table:
    """A table without space between its columns, so that Table 5 fits into 80 characters."""
    return Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=0, pad_edge=False)


def _cells(score: PaperScore) -> tuple[str, str]:
    if score.cv is None:
        return str(score.validation), "–"
    return str(score.validation), f"{score.cv}±{score.cv_sd}"
