"""What the commands say while they work."""

import re

import pytest

from cov3d.app import console
from cov3d.app.console import Pace, progress


def test_the_pace_leaves_out_what_was_there_before() -> None:
    pace = Pace(total=300)
    pace.add(now=0.0, done=100)
    assert str(pace) == ""
    pace.add(now=50.0, done=200)
    assert str(pace) == "2.0 a second, 0:00:50 left"


def test_a_slow_pace_is_told_by_the_minute() -> None:
    pace = Pace(total=100)
    pace.add(now=0.0, done=0)
    pace.add(now=100.0, done=10)
    assert str(pace) == "6.0 a minute, 0:15:00 left"


def test_the_pace_is_that_of_the_last_minutes() -> None:
    pace = Pace(total=10_000)
    for second in range(1000):
        pace.add(now=float(second), done=10 * min(second, 500) + max(0, second - 500))
    assert str(pace).startswith("1.0 a second")


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
