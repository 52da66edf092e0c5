"""`Predictor`: networks that are loaded once and predict many scans."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cov3d.errors import Cov3dError, ScanError
from cov3d.evaluation.predictions import conditional_of, probability_columns
from cov3d.inference.about import about
from cov3d.inference.explanation import Explanation
from cov3d.inference.map_file import save_map
from cov3d.inference.networks import Extras, Networks, ScanPrediction, arithmetic, load_members
from cov3d.inference.predict import collected, kept_scan, predict_each, reasons_of, spread_of
from cov3d.preprocessing.crop import Box
from cov3d.processors import default_jobs, spread_over
from cov3d.readers.array import volume_of_array
from cov3d.training.checkpoint import CheckpointInfo
from cov3d.training.device import choose_device
from cov3d.training.options import Precision
from cov3d.volume import Geometry, Volume

Scan = str | Path | NDArray[Any] | Volume
"""A scan as a caller gives it: a path, an array, or a volume."""


@dataclass(frozen=True)
class Prediction:
    """The prediction of one scan. For research only, not for clinical decisions.

    Attributes:
        scan: its name.
        probabilities: of each category (`non-covid`, `mild`, …); they add up to 1.
        presence: `covid` or `non-covid`.
        severity: the likeliest severity if the scan is positive, whatever `presence` is.
        severity_probabilities: of each severity if the scan is positive; they add up to 1.
        spread: standard deviation of the probability of COVID-19 over dropout passes, else over networks; None with
            one network and no passes.
        temperatures: of the networks; 1 where none was fitted.
        intake: how the scan was read and cropped, with the columns of `manifest.csv`.
        review: reasons why a person should review the prediction; empty if there are none.
    """

    scan: str
    probabilities: dict[str, float]
    presence: str
    severity: str
    severity_probabilities: dict[str, float]
    spread: float | None
    temperatures: tuple[float, ...]
    intake: dict[str, Any]
    review: tuple[str, ...]
    _outcome: ScanPrediction = field(repr=False)
    _again: Callable[[], ScanPrediction] = field(repr=False)

    @property
    def covid_probability(self) -> float:
        """Probability of COVID-19."""
        return 1.0 - next(iter(self.probabilities.values()))

    @cached_property
    def explanation(self) -> Explanation:
        """What spoke for the prediction: maps and lung zones. Computed when first used; the scan is read again."""
        return self._outcome.explanation or self._with_extras.explanation  # type: ignore[return-value]

    @cached_property
    def picture(self) -> bytes:
        """Three planes of the scan with its lungs and its crop, as WebP. Drawn when first used."""
        return self._outcome.preview or self._with_extras.preview or b""

    @cached_property
    def _with_extras(self) -> ScanPrediction:
        again = self._again()
        if again.error is not None:
            raise ScanError(again.error)
        return again

    def save_map(self, file: str | Path, of: str = "presence") -> None:
        """Write an evidence map as NIfTI (`.nii.gz`) that lies over the scan in a viewer.

        Args:
            file: where to write.
            of: `presence` or `severity`.

        Raises:
            Cov3dError: the networks have no class map, or there is no map of this name.
            OutputError: the file can't be written.
        """
        maps = {"presence": self.explanation.presence_map, "severity": self.explanation.severity_map}
        if of not in maps:
            raise Cov3dError(f"there are maps of presence and severity, not of {of!r}")
        density = maps[of]
        if density is None:
            raise Cov3dError("a network has no class map: only the lung zones can be explained")
        write_map(Path(file), density, self.intake, self._outcome.geometry, of)


def write_map(
    file: Path, density: NDArray[np.float32], record: Mapping[str, Any], geometry: Geometry | None, of: str
) -> None:
    """Write a map of a scan whose preprocessing record is known; see `save_map`."""
    box = Box(*(int(record[edge]) for edge in ("z0", "z1", "y0", "y1", "x0", "x1")))
    shape = (int(record["depth"]), int(record["height"]), int(record["width"]))
    what = f"cov3d: evidence for {'COVID-19' if of == 'presence' else 'the severity'}, log-odds"
    save_map(file, density, box, shape, geometry, what)


class Predictor:
    """Networks that predict the presence and severity of COVID-19 in chest CT. They are loaded once.

    For research only, not for clinical decisions. Nothing is fetched from a network.

    Example:
        predictor = Predictor("presence.safetensors")
        prediction = predictor.predict("scan.nii.gz")
        print(prediction.presence, prediction.covid_probability, prediction.review)
    """

    def __init__(
        self,
        checkpoints: str | Path | Iterable[str | Path],
        *,
        device: str = "auto",
        precision: str = Precision.AUTO,
        batch_size: int = 2,
        jobs: int | None = None,
        explain: bool = False,
        mc_dropout: int = 0,
    ) -> None:
        """Load networks.

        Args:
            checkpoints: a checkpoint, or several to average.
            device: `auto`, `cpu`, `cuda` or `cuda:N`.
            precision: `auto` (half precision on a GPU, float32 on a CPU), `fp32`, `bf16` or `fp16`. With `explain`,
                `auto` is float32.
            batch_size: scans per forward pass.
            jobs: processes that preprocess scans in `predict_many`; by default one for each processor.
            explain: explain every prediction at once, not only when its `explanation` is used.
            mc_dropout: predictions of each scan with dropout on, from which its `spread` is computed; 0 for none.

        Raises:
            CheckpointError: a file is not a checkpoint, or the checkpoints can't be averaged.
            Cov3dError: there is no such device or precision, or no network has dropout.
        """
        files = [Path(checkpoints)] if isinstance(checkpoints, str | Path) else [Path(file) for file in checkpoints]
        if not files:
            raise Cov3dError("give at least one checkpoint")
        if batch_size < 1 or (jobs is not None and jobs < 1) or mc_dropout < 0:
            raise Cov3dError("batch_size and jobs must be at least 1, mc_dropout at least 0")
        target = choose_device(device)
        amp = arithmetic(precision, target, explain=explain)
        members = load_members(files, target, amp=amp)
        self._networks = Networks(members, target, amp)
        if mc_dropout:
            self._networks.check_dropout()
        self._extras = Extras(draw=explain, explain=explain, dropout_passes=mc_dropout)
        self._batch_size, self._jobs = batch_size, jobs

    @property
    def infos(self) -> tuple[CheckpointInfo, ...]:
        """The metadata of the checkpoints, in order."""
        return tuple(member.info for member in self._networks.members)

    @property
    def about(self) -> list[str]:
        """What the networks are, a sentence each: training scans, score with interval, task."""
        return about(self.infos)

    def predict(self, scan: Scan, *, spacing: Sequence[float] | None = None) -> Prediction:
        """Predict one scan.

        Args:
            scan: a file, a folder of slices or a DICOM series; or an array (depth, height, width) with slice 0 at the
                head, row 0 anterior and column 0 the patient's right: `uint8` grey levels of the window −1150 to
                350 HU, or Hounsfield units of any other type.
            spacing: mm between voxels along (depth, height, width), for an array.

        Raises:
            ScanError: the scan can't be read.
        """
        source: Path | Volume
        if isinstance(scan, np.ndarray):
            source = volume_of_array(scan, spacing)
        else:
            source = scan if isinstance(scan, Volume) else Path(scan)
        name = source.path.name if isinstance(source, Volume) else source.name
        (prediction,) = self._predict({name: source}, jobs=0, threads=default_jobs(self._jobs), on_error=None)
        return prediction

    def predict_many(
        self,
        scans: Iterable[str | Path] | Mapping[str, str | Path],
        *,
        on_error: Callable[[str, str], None] | None = None,
    ) -> Iterator[Prediction]:
        """Predict scans; their predictions come in the order given, each as soon as it is ready.

        Args:
            scans: paths, which are also the names; or paths by name.
            on_error: called with the name and the error of a scan that can't be read, which is then skipped. Without
                it, the error is raised.

        Raises:
            ScanError: a scan can't be read, and `on_error` is not given.
        """
        named = scans if isinstance(scans, Mapping) else {str(scan): scan for scan in scans}
        paths: dict[str, Path | Volume] = {name: Path(path) for name, path in named.items()}
        if not paths:
            return iter(())
        return self._predict(paths, **spread_over(default_jobs(self._jobs), len(paths)), on_error=on_error)

    def table(self, predictions: Iterable[Prediction]) -> pd.DataFrame:
        """The prediction table of some predictions, sorted by scan: what `cov3d infer` writes to `predictions.csv`."""
        kept = {one.scan: kept_scan(one._outcome) for one in predictions}
        return collected(kept, self.infos, {}).table

    def _predict(
        self,
        scans: Mapping[str, Path | Volume],
        *,
        jobs: int,
        threads: int,
        on_error: Callable[[str, str], None] | None,
    ) -> Iterator[Prediction]:
        outcomes = predict_each(
            scans,
            self._networks,
            jobs=jobs,
            threads=threads,
            batch_size=self._batch_size,
            extras=self._extras,
        )
        for outcome in outcomes:
            if outcome.error is None:
                yield self._prediction(outcome, scans[outcome.scan], threads)
            elif on_error is None:
                raise ScanError(outcome.error)
            else:
                on_error(outcome.scan, outcome.error)

    def _prediction(self, outcome: ScanPrediction, source: Path | Volume, threads: int) -> Prediction:
        def again() -> ScanPrediction:
            exact = Networks(self._networks.members, self._networks.device)
            extras = Extras(draw=True, explain=True)
            return next(predict_each({outcome.scan: source}, exact, threads=threads, batch_size=1, extras=extras))

        kept = kept_scan(outcome)
        made = collected({outcome.scan: kept}, self.infos, {}).table
        row = made.iloc[0]
        categories = self.infos[0].categories
        numbers = row[probability_columns(categories)].to_numpy(dtype=np.float64)
        severities = conditional_of(made, categories)[0]
        return Prediction(
            scan=outcome.scan,
            probabilities=dict(zip(categories, numbers.tolist(), strict=True)),
            presence=row["presence"],
            severity=row["severity"],
            severity_probabilities=dict(zip(categories[1:], severities.tolist(), strict=True)),
            spread=spread_of(kept),
            temperatures=tuple(info.temperature or 1.0 for info in self.infos),
            intake=outcome.record,
            review=tuple(reasons_of(kept, self.infos)),
            _outcome=outcome,
            _again=again,
        )
