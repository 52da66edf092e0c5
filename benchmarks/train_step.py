"""What does a training step cost, beside what it must? Time, memory, and what the loader can feed.

    python benchmarks/train_step.py                                                    the ResNet at size tiny
    python benchmarks/train_step.py --size small medium large --output step.md         on a GPU
    python benchmarks/train_step.py --size medium --compile no yes --channels-last yes no --deterministic yes no

Three ways to take the same step take turns, so that whatever else the machine does meets all of them alike:

- train: the learner of `cov3d train` with its callbacks and progress bar, fed from memory;
- bare PyTorch: the same network, loss, augmentation, precision, memory layout and optimiser in a plain loop: no
  fastai, no schedule, nothing that looks at the loss;
- paper: the paper's settings, fastai's own learner, recorder and Adam, float16 with scaled gradients, default memory
  layout (float32 on a CPU).

--precision, --channels-last, --compile, --checkpointing and --deterministic take several values: `train` and bare
PyTorch are compared in the first of each, and `train` is measured in every combination. On a GPU, or with --loss-copy,
two more rows say what it costs to look at the loss at every step.

Times are medians over rounds, with the middle half of them in brackets; ratios are medians of the ratios within each
round. Peak memory is what is in use at most, above what was before the network was made: tensors on a GPU, resident
memory on a CPU (rougher). Share is the step's operations (convolutions and matrix products, forward and backward; what
checkpointing computes again does not count) a second, over those of the best of many products of large square matrices
in the same precision. A loop alone is what the host does for a step beside the network, here one layer on a corner of
the batch: on a GPU it is hidden while the GPU is busy. The loader reads phantoms from a store that the system has in
its cache.
"""

import argparse
import csv
import io
import shlex
import statistics
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path

import torch
import torch._dynamo
from contenders import Bare, Contender, Job, Paper, Train, WithoutNetwork
from measures import Peak, loader_seconds, make_job, matrix_rate, matrix_side, operations, phantoms, profiled
from rich.console import Console
from rich.table import Table

from cov3d.app.options import default_workers
from cov3d.errors import Cov3dError
from cov3d.files import write_text
from cov3d.models.names import Architecture
from cov3d.preprocessing.sizes import Size
from cov3d.training import memory
from cov3d.training.device import choose_device
from cov3d.training.fit import compiler_explained
from cov3d.training.options import Compute, Precision, TrainingOptions

TRAIN, BARE, PAPER = "train", "bare PyTorch", "paper"
COLUMNS = (
    *("network", "size", "what", "how", "ms a step", "over bare", "paper over it", "peak GiB", "share", "remark"),
)
CHOICE = {"default": None, "yes": True, "no": False}


@dataclass
class Measured:
    """A contender and how long its steps took, a value a round."""

    what: str
    contender: Contender
    peak: int
    seconds: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        """Seconds a step."""
        return statistics.median(self.seconds)

    def over(self, other: "Measured") -> float:
        """How many times as long it takes as the other, round by round."""
        return statistics.median(mine / its for mine, its in zip(self.seconds, other.seconds, strict=True))


def combinations(options: argparse.Namespace) -> list[tuple[Precision, Compute]]:
    """Every way to compute that was asked for."""
    lists = (options.precision, options.channels_last, options.compile, options.checkpointing, options.deterministic)
    return [
        (
            Precision(precision),
            Compute(
                channels_last=CHOICE[channels_last],
                compile=CHOICE[compiled],
                gradient_checkpointing=CHOICE[checkpointing],
                deterministic=CHOICE[deterministic],
            ),
        )
        for precision, channels_last, compiled, checkpointing, deterministic in product(*lists)
    ]


def plans(
    job: Job, ways: Sequence[tuple[Precision, Compute]], *, loss_copy: bool
) -> list[tuple[str, Callable[[], Contender]]]:
    """What is measured, in the order of a round."""

    def of(precision: Precision) -> Job:
        return replace(job, options=replace(job.options, precision=precision))

    (first, compute), *others = ways
    found: list[tuple[str, Callable[[], Contender]]] = [
        (TRAIN, lambda: Train(of(first), compute)),
        (BARE, lambda: Bare(of(first), compute)),
        (PAPER, lambda: Paper(job)),
    ]
    if loss_copy:
        found += [
            (f"{TRAIN}, fastai's recorder", lambda: Train(of(first), compute, recorder=True)),
            (f"{TRAIN}, loss not watched", lambda: Train(of(first), compute, watched=False)),
        ]
    return found + [(TRAIN, lambda way=way: Train(of(way[0]), way[1])) for way in others]


def warm(what: str, make: Callable[[], Contender], job: Job, steps: int) -> Measured:
    """Make a contender, take its first steps, which are slower, and see what memory one takes.

    Raises:
        Cov3dError: it does not fit into memory, or can't be compiled.
    """
    peak = Peak(job.device)
    with memory.explained(job.options, job.device), compiler_explained():
        contender = make()
        contender.take(steps)
        peak.reset()
        contender.take(1)
    return Measured(what, contender, peak.most())


def compare(job: Job, ways: Sequence[tuple[Precision, Compute]], options: argparse.Namespace) -> list[dict[str, str]]:
    """The rows of one network at one size."""
    named = {"network": job.options.architecture.value, "size": job.options.size.value}
    flops = operations(job)
    counted = {"what": "operations", "how": "of a step", "remark": f"{flops / 1e12:.3g} TFLOP"}
    if options.loader_only:
        return [named | row for row in (counted, _loader_row(job, [], options.workers))]
    console = Console(stderr=True)
    loss_copy = job.device.type == "cuda" if options.loss_copy is None else options.loss_copy
    found: list[Measured] = []
    failed: list[dict[str, str]] = []
    with suppress(Cov3dError):
        warm("", lambda: Bare(job, ways[0][1]), job, 1)  # libraries take memory of their own when first used
    for what, make in plans(job, ways, loss_copy=loss_copy):
        console.print(f"{job.options.architecture}, {job.options.size}: warming up {what}", style="dim")
        try:
            found.append(warm(what, make, job, options.warm_up))
        except Cov3dError as error:
            failed.append({"what": what, "remark": str(error)})
    rates = {one.contender.amp: 0.0 for one in found}
    for number in range(options.rounds):
        console.print(f"round {number + 1} of {options.rounds}", style="dim")
        for one in found:
            one.seconds.append(one.contender.take(options.steps) / options.steps)
        rates = {amp: max(rate, matrix_rate(amp, job.device)) for amp, rate in rates.items()}
    if options.profile is not None and found:
        text = f"{job.options.architecture}, {job.options.size}, {found[0].contender.how}\n"
        with options.profile.open("a", encoding="utf-8") as stream:
            stream.write(text + profiled(found[0].contender, job.device) + "\n")
    rows = [*(_row(one, found, flops, rates) for one in found), counted]
    rows += [
        {
            "what": f"matrix product, {matrix_side(job.device)} square",
            "how": amp or Precision.FP32.value,
            "remark": f"{rate / 1e12:.3g} TFLOP/s",
        }
        for amp, rate in rates.items()
    ]
    return [named | row for row in [*rows, *failed, *loops(job), _loader_row(job, found, options.workers)]]


def _row(one: Measured, found: Sequence[Measured], flops: int, rates: dict[str | None, float]) -> dict[str, str]:
    others = {other.what: other for other in reversed(found)}
    quartiles = statistics.quantiles(one.seconds, method="inclusive") if len(one.seconds) > 1 else one.seconds * 3
    trained = [other for other in found if other.what == TRAIN]
    return {
        "what": one.what,
        "how": one.contender.how,
        "ms a step": f"{1000 * one.median:.4g} ({1000 * quartiles[0]:.4g}–{1000 * quartiles[-1]:.4g})",
        "over bare": f"{one.over(others[BARE]):.3f}" if BARE in others else "",
        "paper over it": f"{others[PAPER].over(one):.2f}" if PAPER in others else "",
        "peak GiB": f"{one.peak / 1024**3:.2f}",
        "share": f"{flops / one.median / rates[one.contender.amp]:.0%}",
        "remark": "fastest" if len(trained) > 1 and one is min(trained, key=lambda other: other.median) else "",
    }


def loops(job: Job) -> list[dict[str, str]]:
    """What a step takes of the host beside computing, in fastai's loop with our callbacks and in the bare one."""
    without = WithoutNetwork.like(job)
    both = {TRAIN: Train(without, Compute()), BARE: Bare(without, Compute())}
    steps, rounds = 20, 5
    for contender in both.values():
        contender.take(steps)
    seconds = {what: [contender.take(steps) for _ in range(rounds)] for what, contender in both.items()}
    return [
        {"what": f"{what}, loop alone", "how": "one layer", "ms a step": f"{1000 * min(taken) / steps:.3g}"}
        for what, taken in seconds.items()
    ]


def _loader_row(job: Job, found: Sequence[Measured], workers: int) -> dict[str, str]:
    seconds = loader_seconds(job, workers, batches=max(8, 8 * workers))
    trained = [one.median for one in found if one.what == TRAIN]
    return {
        "what": "loader alone",
        "how": f"{workers or 'no'} worker{'s' * (workers != 1)}",
        "ms a step": f"{1000 * seconds:.4g}",
        "remark": f"{min(trained) / seconds:.1f} times what the fastest train needs" if trained else "",
    }


def title(options: argparse.Namespace, device: torch.device) -> str:
    """What it was measured on, and how often."""
    if device.type == "cuda":
        card = (
            f"{torch.cuda.get_device_name(device)}, CUDA {torch.version.cuda}, cuDNN {torch.backends.cudnn.version()}"
        )
    else:
        card = f"CPU, {torch.get_num_threads()} threads, {torch.backends.cpu.get_cpu_capability()}"
    return (
        f"{card}, torch {torch.__version__}; batch of {options.batch_size}, {options.rounds} rounds of {options.steps}"
    )


def command(options: argparse.Namespace) -> str:
    """The command as it was given, without the names of the files that it wrote."""
    files = {str(file) for file in (options.output, options.profile) if file is not None}
    words = [word for word in sys.argv[1:] if word not in files | {"--output", "--profile"}]
    return shlex.join(["python", "benchmarks/train_step.py", *words])


def as_text(rows: Sequence[dict[str, str]], head: str, ran: str, suffix: str) -> str:
    """The rows as Markdown, under what they were measured on and with, or as CSV."""
    cells = [[row.get(column, "") for column in COLUMNS] for row in rows]
    if suffix == ".md":
        lines = [COLUMNS, ("---",) * len(COLUMNS), *cells]
        return f"{head}:\n\n    {ran}\n\n" + "".join(f"| {' | '.join(line)} |\n" for line in lines)
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerows([COLUMNS, *cells])
    return stream.getvalue()


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    several = {"nargs": "+", "metavar": "X"}
    parser.add_argument("--architecture", nargs="+", choices=[*Architecture], default=[Architecture.RESNET])
    parser.add_argument("--size", nargs="+", choices=[*Size], default=[Size.TINY])
    parser.add_argument("--batch-size", type=int, default=TrainingOptions().batch_size)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", **several, choices=[*Precision], default=[Precision.AUTO])
    parser.add_argument("--channels-last", **several, choices=CHOICE, default=["default"])
    for name, default in (("compile", "no"), ("checkpointing", "no"), ("deterministic", "yes")):
        parser.add_argument(f"--{name}", **several, choices=["yes", "no"], default=[default])
    parser.add_argument("--loss-copy", action=argparse.BooleanOptionalAction, help="what looking at the loss costs")
    parser.add_argument("--workers", type=int, help="of the loader (default: as cov3d train)")
    parser.add_argument("--loader-only", action="store_true", help="no steps: what the loader can feed")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, help="in a round (default: 20 on a GPU, 1 on a CPU)")
    parser.add_argument("--warm-up", type=int, help="steps before the first round (default: 5 on a GPU, 1 on a CPU)")
    parser.add_argument("--profile", type=Path, metavar="FILE", help="write where the time of train goes")
    parser.add_argument("--output", type=Path, metavar="FILE", help="write the table: .md or .csv")
    options = parser.parse_args()
    if options.output is not None and options.output.suffix not in (".md", ".csv"):
        parser.error(f"--output ends in .md or .csv, not {options.output.name!r}")
    return options


def main() -> None:
    """Read the command line and measure."""
    options = arguments()
    device = choose_device(options.device)
    on_gpu = device.type == "cuda"
    options.steps = options.steps or (20 if on_gpu else 1)
    options.warm_up = options.warm_up or (5 if on_gpu else 1)
    options.workers = default_workers(options.workers, device.type)
    torch._dynamo.config.cache_size_limit = 64  # so many networks may be compiled side by side
    if options.profile is not None:
        write_text(options.profile, "")
    rows: list[dict[str, str]] = []
    for architecture, size in product(map(Architecture, options.architecture), map(Size, options.size)):
        with tempfile.TemporaryDirectory() as folder:
            store = phantoms(Path(folder), size)
            settings = TrainingOptions(architecture=architecture, size=size, batch_size=options.batch_size)
            rows += compare(make_job(settings, store, device), combinations(options), options)
    table = Table(*COLUMNS, title=title(options, device), title_justify="left")
    for row in rows:
        table.add_row(*(row.get(column, "") for column in COLUMNS))
    Console(width=None if sys.stdout.isatty() else 180).print(table)
    if options.output is not None:
        write_text(options.output, as_text(rows, title(options, device), command(options), options.output.suffix))


if __name__ == "__main__":
    main()
