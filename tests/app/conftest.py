"""Running a command line up to the function that does its work."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.conftest import Ended
from tests.training.conftest import quick_network  # noqa: F401  a fixture

Command = Callable[..., Ended]


class ReachedError(Exception):
    """Carries what a function was called with."""

    def __init__(self, arguments: tuple[Any, ...], options: dict[str, Any]) -> None:
        super().__init__()
        self.arguments, self.options = arguments, options


@pytest.fixture
def reached(monkeypatch: pytest.MonkeyPatch, cov3d: Command) -> Callable[..., ReachedError]:
    """Run a command up to the call of `module.name`, and give back what it was called with."""

    def run(module: object, name: str, *words: object) -> ReachedError:
        def stop(*arguments: Any, **options: Any) -> None:
            raise ReachedError(arguments, options)

        with monkeypatch.context() as patch:
            patch.setattr(module, name, stop)
            try:
                ended = cov3d(*words)
            except ReachedError as found:
                return found
        return pytest.fail(f"{name} was not reached: {ended}")

    return run
