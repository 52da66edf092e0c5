"""The command `experiments`: the paper's experiments, for `cov3d train --experiment`."""

import json
import sys
from collections.abc import Iterable
from dataclasses import asdict
from enum import StrEnum
from typing import Any

from torchapp import Param

from cov3d.app.console import out, say


class Format(StrEnum):
    """How a table is printed."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"


def experiments(
    self: Any,
    format: Format = Param(
        Format.TABLE,
        help="table, to read; csv, a row an experiment; json, ensembles and submissions too.",
        rich_help_panel="Output",
    ),
) -> None:
    """List the paper's experiments, which train --experiment takes, with the paper's results."""
    from cov3d.challenge import experiments as paper

    if format == Format.CSV:
        sys.stdout.write(paper.table_as_csv())
    elif format == Format.JSON:
        content: dict[str, Iterable[Any]] = {
            "experiments": paper.experiments().values(),
            "ensembles": paper.ENSEMBLES,
            "submissions": paper.SUBMISSIONS,
        }
        print(json.dumps({name: [asdict(row) for row in rows] for name, rows in content.items()}, indent=2))
    else:
        from cov3d.reports.experiments import ensemble_table, experiment_table

        out().print(experiment_table(paper.experiments().values()))
        out().print(ensemble_table(paper.ENSEMBLES))
        say("pres., sev.: presence, severity, on the validation partition. CV: mean ± deviation over the five folds.")
        say("STOIC: pretrained on STOIC2021 too, so train --experiment needs --from-checkpoint.")
