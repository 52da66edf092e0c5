"""`Cov3d`, the TorchApp: which commands there are, and their order. Their code is in the files beside this one."""

from pathlib import Path

from torchapp import TorchApp
from torchapp.apps import BIBTEX_DIR
from torchapp.citations import Citable
from torchapp.cli import Method, flag, main, method

import cov3d
from cov3d.app import (
    answers,
    compute,
    crossval,
    data,
    declarations,
    demonstration,
    ensemble,
    experiments,
    infer,
    options,
    report,
    scores,
    submission,
    tracking,
    training,
    tune,
    weights,
)
from cov3d.app.help import Command
from cov3d.datasets.layouts import LAYOUTS
from cov3d.training.options import Compute, TrainingOptions

GROUPS = {
    "Data": ("phantom", "folds", "preprocess"),
    "Training": ("weights", "experiments", "train", "tune", "crossval"),
    "Evaluation": ("validate", "compare", "report"),
    "Prediction": ("ensemble", "infer", "submit", "check_submission", "explain", "export"),
    "Try it": ("demo",),
}
"""The commands in the order of use, in groups as the help shows them."""

COMMANDS = tuple(command for commands in GROUPS.values() for command in commands)

_TRAINING = ("scan_table", "training_options", "starting_point", "compute_options")


class Cov3d(TorchApp):
    """Detect COVID-19, and grade how severe it is, from 3-D chest CT.

    torchapp turns the signatures into the command line; training itself is fastai's, so the commands of torchapp's
    Lightning engine are switched off.
    """

    scan_table = method(data.scan_table)
    training_options = method(training.training_options)
    trackers = method(tracking.trackers)
    starting_point = method(weights.starting_point)
    compute_options = method(compute.compute_options)

    phantom = main(data.phantom)
    folds = main(data.folds)
    preprocess = main("scan_table")(data.preprocess)
    weights = main(weights.weights)
    experiments = main(experiments.experiments)
    train = main(*_TRAINING, "trackers")(training.train)
    tune = main(*_TRAINING)(tune.tune)
    crossval = main(*_TRAINING, "trackers")(crossval.crossval)
    validate = main("scan_table")(scores.validate)
    compare = main(scores.compare)
    ensemble = main(ensemble.ensemble)
    infer = main(infer.infer)
    submit = main(submission.submit)
    check_submission = main(submission.check_submission)
    explain = main(answers.explain)
    export = main(answers.export)
    report = main(report.report)
    demo = main(demonstration.demo)

    predict = None
    one_batch = one_batch_size = one_batch_loss = one_batch_output_size = None
    setup = model = loss_function = setup_and_data = validation_dataloader = prediction_dataloader = None
    monitor = goal = checkpoint = checkpoint_callback = callbacks = extra_callbacks = profiler = project_name = None
    trainer = metrics = input_count = extra_hyperparameters = module_class = lightning_module = None
    load_checkpoint = prediction_trainer = output_results = None
    __call__ = None

    def modify_signature(self, method_to_modify: Method, **kwargs: object) -> None:
        """As torchapp's, which copies functions without their signatures: those made from dataclasses are set here."""
        made = {
            "training_options": lambda: declarations.signature(TrainingOptions),
            "compute_options": lambda: declarations.signature(Compute, device=options.device()),
        }
        if (name := method_to_modify.__name__) in made and not method_to_modify.signature_ready:
            method_to_modify.func.__signature__ = made[name]()
        super().modify_signature(method_to_modify, **kwargs)

    def __init__(self, **kwargs: object) -> None:
        super().__init__(**kwargs)
        # torchapp registers commands in alphabetical order; a newcomer reads them in the order of the work.
        self.main_app.registered_commands.sort(key=lambda command: COMMANDS.index(command.callback.__name__))
        layouts = ", ".join(one.name for one in LAYOUTS)
        groups = {command: group for group, commands in GROUPS.items() for command in commands}
        for command in self.main_app.registered_commands:
            command.cls = Command
            command.help = (command.callback.__doc__ or "").replace("{layouts}", layouts)
            command.rich_help_panel = groups[command.callback.__name__]
        self.main_app._add_completion = True  # torchapp gives no other way to --install-completion
        self.main_app.info.help = (
            "Detect COVID-19, and grade how severe it is, from 3-D chest CT. Research use only.\n\n"
            "Raw scans to submission: folds, preprocess, train, validate, infer. No data at hand: demo. "
            "The paper's settings: experiments."
        )
        self.main_app.info.name = "cov3d"

    def get_bibtex_files(self) -> list[Path]:
        """The papers to cite."""
        return [Path(__file__).with_name("cov3d.bib"), BIBTEX_DIR / "torchapp.bib"]

    @flag(shortcut="-v")
    def version(self) -> str:
        """Print the version."""
        return cov3d.__version__

    @flag
    def bibtex(self) -> None:
        """Print what to cite, as BibTeX."""
        print(Citable.bibtex(self))  # plainly: torchapp's rich console loses what stands in square brackets

    @flag
    def bibliography(self) -> None:
        """Print what to cite, in words."""
        print(Citable.bibliography(self))
