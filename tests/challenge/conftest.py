"""The fixtures of run folders, for what is made of them."""

from tests.inference.conftest import no_pictures, quick_network  # noqa: F401
