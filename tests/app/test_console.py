"""What the commands say while they work."""

import re
from collections.abc import Callable, Iterable

import pytest

from cov3d.app import console
from cov3d.app.console import progress


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """The last line of a log of work of which so much was done at so many seconds."""

    def log(total: int, done_at: Iterable[tuple[float, int]]) -> str:
        clock = [0.0]
        monkeypatch.setattr(console.time, "monotonic", lambda: clock[0])
        with progress("work", total) as advance:
            for clock[0], done in done_at:
                advance(done)
        return capsys.readouterr().err.splitlines()[-1]

    return log


def test_the_pace_leaves_out_what_was_there_before(logged: Callable[..., str]) -> None:
    assert logged(300, [(0.0, 100), (100.0, 200)]) == "work: 200 of 300, 1.0 a second, 0:01:40 left"


def test_a_slow_pace_is_shown_by_the_minute(logged: Callable[..., str]) -> None:
    assert logged(100, [(0.0, 1), (50.0, 6), (100.0, 11)]) == "work: 11 of 100, 6.0 a minute, 0:14:50 left"


def test_the_pace_is_that_of_the_last_minutes(logged: Callable[..., str]) -> None:
    done_at = [(float(second), 10 * min(second, 500) + max(0, second - 500)) for second in range(1000)]
    assert "1.0 a second" in logged(10_000, done_at)


def test_no_pace_is_known_before_something_was_done(logged: Callable[..., str]) -> None:
    assert logged(9, [(0.0, 3), (70.0, 3)]) == "work: 3 of 9, "


def test_a_log_gets_a_line_a_minute_with_rate_time_left_and_failures(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = [0.0]
    monkeypatch.setattr(console.time, "monotonic", lambda: clock[0])
    with progress("preprocessing, small", 500) as advance:
        for second in range(0, 150, 2):
            clock[0] = float(second)
            advance(100 + second, "3 failed" if second else "")
    lines = [line for line in capsys.readouterr().err.splitlines() if line]
    assert lines == [
        "preprocessing, small: 162 of 500, 1.0 a second, 0:05:38 left, 3 failed",
        "preprocessing, small: 224 of 500, 1.0 a second, 0:04:36 left, 3 failed",
    ]
    assert not any(re.search(r"[\x00-\x1f]", line) for line in lines)
