"""The command line. `main` is the entry point; the app itself is loaded when it is called."""

import sys
import warnings


def main() -> None:
    """Run the command line; a failure of the user's becomes one sentence on stderr and exit code 2."""
    # Said at import by libraries that we use, about what they use; no user of ours can act on it.
    warnings.filterwarnings("ignore", message=".*torch.jit.script.* is deprecated", category=FutureWarning)
    warnings.filterwarnings("ignore", message=".*torch.jit.script.* is deprecated", category=DeprecationWarning)

    from cov3d.app.app import Cov3d
    from cov3d.app.console import say_error, speaks
    from cov3d.errors import Cov3dError, PeerLostError, StoppedError

    try:
        Cov3d.main()
    except (StoppedError, PeerLostError) as error:
        if speaks():  # every process of a run is stopped at once, or by another
            say_error(str(error))
        sys.exit(error.exit_code)
    except Cov3dError as error:
        # From a loader's process our error comes wrapped in its traceback; the sentence is the last line.
        say_error(
            str(error).strip().rpartition("\n")[2].removeprefix(f"{type(error).__module__}.{type(error).__name__}: ")
        )
        sys.exit(error.exit_code)
    except OSError as error:
        if error.filename is None:
            raise
        say_error(f"{error.filename} can't be read or written: {error.strerror}")
        sys.exit(2)
    except SystemExit as ended:
        if ended.code == 130:
            say_error("interrupted")
        raise
