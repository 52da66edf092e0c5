"""What a run begins with: dataset, scan table, store, and the weights to start from, as a caller gives them."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cov3d.api import inputs
from cov3d.listener import Listener
from cov3d.preprocessing.sizes import Size
from cov3d.training.options import TrainingOptions

if TYPE_CHECKING:
    import pandas as pd

    from cov3d.preprocessing.store import Store
    from cov3d.training.start import Start


@dataclass(frozen=True)
class RunInputs:
    """Where the inputs of runs are.

    Attributes:
        data: root folder of the dataset.
        table: the scan table; None for the dataset's own.
        store: folder of the preprocessed volumes; None for the dataset's own.
        strict: whether a scan table that does not fit the dataset any more is an error.
        weights: torchvision's file of Kinetics-400 weights; None to look for it.
        weights_dir: folder to look for that file in first.
        from_checkpoint: a checkpoint to start from; None for none.
        listener: hears what is found.
    """

    data: Path
    table: Path | None
    store: Path | None
    strict: bool
    weights: Path | None
    weights_dir: Path | None
    from_checkpoint: Path | None
    listener: Listener

    def scan_table(self) -> "pd.DataFrame":
        """The dataset's scan table, made where it is missing.

        Raises:
            DatasetError: it can't be read or made, or does not fit the dataset and `strict` is set.
            OutputError: it can't be written.
        """
        return inputs.scan_table(self.data, self.table, self.listener, strict=self.strict)

    def open_store(self, size: Size) -> "Store":
        """The store of a size.

        Raises:
            StoreError: there is none, or it has other settings.
        """
        from cov3d.preprocessing.store import Store

        return Store.open(inputs.store_folder(self.data, self.store, size), size)

    def start(self, options: TrainingOptions) -> "Start":
        """The weights that a run of these options starts from; errors as of `starting_point`."""
        from cov3d.api.weights import starting_point

        return starting_point(
            options,
            weights=self.weights,
            weights_dir=self.weights_dir,
            from_checkpoint=self.from_checkpoint,
            listener=self.listener,
        )


def run_inputs(
    data: str | Path,
    listener: Listener,
    *,
    table: str | Path | None,
    store: str | Path | None,
    strict: bool,
    weights: str | Path | None,
    weights_dir: str | Path | None,
    from_checkpoint: str | Path | None,
) -> RunInputs:
    """The inputs of runs, whose paths may be text."""
    path = inputs.path_or_none
    return RunInputs(
        data=Path(data),
        table=path(table),
        store=path(store),
        strict=strict,
        weights=path(weights),
        weights_dir=path(weights_dir),
        from_checkpoint=path(from_checkpoint),
        listener=listener,
    )
