"""The command line. `main` is the entry point; the app itself is loaded when it is called."""

import os
import sys
import warnings

from cov3d.app import stopping, terminal
from cov3d.app.stopping import Watch

_INTERNAL_ERROR = 1


def command_line() -> None:
    """The command `cov3d`: `main`, after which the process ends."""
    main(ends_process=True)


def main(*, ends_process: bool = False) -> None:
    """Run the command line and leave with its exit code.

    A failure that is the user's to mend becomes one sentence on stderr.

    Args:
        ends_process: whether the process does nothing afterwards but end.

    Raises:
        SystemExit: with the exit code.
    """
    command = next((word for word in sys.argv[1:] if not word.startswith("-")), "")
    stopping.will_exit_with(_INTERNAL_ERROR)
    with (
        stopping.watched(command, ends_process=ends_process) as watch,
        terminal.forgiving(ends_process=ends_process) as printed,
    ):
        code = _exit_code(_run(watch), printed.failure())
        stopping.will_exit_with(code)
    sys.exit(code)


def _run(watch: Watch) -> int:
    """The exit code of the command line, with what went wrong printed."""
    try:
        code = _invoke()
        watch.settle()
        stopping.will_exit_with(code)
        return code
    except SystemExit as ended:
        watch.settle()
        return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException as error:  # noqa: BLE001  an internal one is raised again
        watch.settle()
        from cov3d.app.failures import report

        return report(error, watch)


def _invoke() -> int:
    # Libraries that we use say this of what they use, when they are imported; no user of ours can act on it.
    for category in (FutureWarning, DeprecationWarning):
        warnings.filterwarnings("ignore", message=".*torch.jit.script.* is deprecated", category=category)

    from cov3d.app.app import Cov3d
    from cov3d.processes import quiet_tracker

    os.environ.update(quiet_tracker())  # for processes that libraries start
    # Not `standalone`: then errors of usage come to us. A number that comes back is an exit code.
    found: object = Cov3d().main_app(prog_name="cov3d", standalone_mode=False)
    code = found if isinstance(found, int) else 0
    if code == stopping.EXIT_CODE:
        raise stopping.Stop  # typer made an exit code of it
    return code


def _exit_code(code: int, failure: OSError | None) -> int:
    """The exit code, where some of the output was perhaps lost: then the command has not done all that it was to do."""
    if failure is None:
        return code
    if terminal.nobody_reads(failure):
        return code or 1  # as Python has it for a pipe that nobody reads
    from cov3d.app.console import say_error

    say_error(f"standard output can't be written: {failure.strerror}; files that the command wrote are complete")
    return code or 2
