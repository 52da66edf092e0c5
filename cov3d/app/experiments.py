"""The command `experiments`: the paper's experiments, for `cov3d train --experiment`."""

import sys
from enum import StrEnum

from torchapp import Param

from cov3d.app.console import out, say


class TableFormat(StrEnum):
    """How a table is printed."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"


def experiments(
    self: object,
    format: TableFormat = Param(
        TableFormat.TABLE,
        help="table, to read; csv, a row an experiment; json, ensembles and submissions too.",
        rich_help_panel="Output",
    ),
) -> None:
    """List the paper's experiments, which train --experiment takes, with the paper's results."""
    from cov3d.challenge import experiments as paper

    if format == TableFormat.CSV:
        sys.stdout.write(paper.table_as_csv())
    elif format == TableFormat.JSON:
        print(paper.all_as_json())
    else:
        from cov3d.reports.experiments import ensemble_table, experiment_table

        out().print(experiment_table(paper.experiments().values()))
        out().print(ensemble_table(paper.ENSEMBLES))
        say("pres., sev.: presence, severity, on the validation partition. CV: mean ± deviation over the five folds.")
        say("STOIC: pretrained on STOIC2021 too, so train --experiment needs --from-checkpoint.")
