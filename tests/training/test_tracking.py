"""Trackers: what they are sent is the run's history and options, nothing that names a person or a machine."""

import getpass
import os
import socket
import struct
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import wandb
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import plugin_data_pb2
from wandb.proto import wandb_internal_pb2

from cov3d.errors import Cov3dError, TrackingError
from cov3d.preprocessing.store import Store
from cov3d.training import tracking
from cov3d.training.tracking import make_trackers
from cov3d.training.tracking.tracker import Tracker
from tests.training.test_training import QUICK, equal, run, weights

pytestmark = pytest.mark.usefixtures("quick_network")
THREE = replace(QUICK, epochs=3, batch_size=1, dropout=0.3)
STEPS = 6  # scans of the training fold
HOST = "host-of-this-machine"
Labelled = tuple[Store, pd.DataFrame]


@pytest.fixture(autouse=True)
def _elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A host with a name to look for; no settings of the person who runs the tests, and no network."""
    monkeypatch.setattr(socket, "gethostname", lambda: HOST)
    monkeypatch.setenv("WANDB_CACHE_DIR", str(tmp_path / "cache"))
    for name in ("WANDB_MODE", "WANDB_PROJECT", "WANDB_API_KEY"):
        monkeypatch.delenv(name, raising=False)


def tracked(folder: Path, **which: Any) -> list[Tracker]:
    return make_trackers(folder, THREE, warn=pytest.fail, **which)


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    events = EventAccumulator(str(folder / "tensorboard")).Reload()
    return {tag: [(item.step, item.value) for item in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def records(folder: Path) -> Iterator[wandb_internal_pb2.Record]:
    """What would be sent to the server, from the files of all offline runs in a run's folder.

    They are in the format of LevelDB's logs: blocks of 32 KiB; each piece of a record has its checksum (4 bytes),
    its length (2) and which piece it is (1: all of it; 2, 3, 4: first, middle, last).
    """
    for file in sorted(folder.glob("wandb/offline-run-*/*.wandb")):
        data, at, record = file.read_bytes(), 7, b""
        while at + 7 <= len(data):
            if 32768 - at % 32768 < 7:
                at += 32768 - at % 32768
                continue
            length, piece = struct.unpack_from("<HB", data, at + 4)
            record += data[at + 7 : at + 7 + length]
            at += 7 + length
            if piece in (1, 4):
                yield wandb_internal_pb2.Record.FromString(record)
                record = b""


def logged(folder: Path) -> list[dict[str, str]]:
    """The rows of values that would be sent to the server, as JSON texts."""
    return [
        {item.key or item.nested_key[0]: item.value_json for item in record.history.item}
        for record in records(folder)
        if record.WhichOneof("record_type") == "history"
    ]


def contents(folder: Path) -> bytes:
    return b"".join(file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file())


def assert_names_nothing(content: bytes, labelled: Labelled, folder: Path) -> None:
    names = [*labelled[1]["scan"], HOST, str(folder), str(folder.parent), str(Path.cwd()), "test_tracking"]
    assert not [name for name in names if name.encode() in content]


def test_tensorboard_shows_the_history_and_the_options(labelled: Labelled, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    found = run(labelled, folder, THREE, trackers=tracked(folder, tensorboard=True))
    shown = scalars(folder)
    for name in ("train_loss", "valid_loss", "presence_f1", "severity_f1"):
        steps, values = zip(*shown[name], strict=True)
        assert steps == (STEPS, 2 * STEPS, 3 * STEPS)
        assert list(values) == pytest.approx(found.history[name].tolist())
    assert [step for step, _ in shown["loss"]] == [STEPS, 2 * STEPS, 3 * STEPS]
    assert shown["learning_rate"][-1][1] == pytest.approx(found.history["learning_rate"].iloc[-1])
    events = EventAccumulator(str(folder / "tensorboard")).Reload()
    content = events.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    options = plugin_data_pb2.HParamsPluginData.FromString(content).session_start_info.hparams
    assert options["dropout"].number_value == 0.3
    assert options["architecture"].string_value == "resnet"
    assert options["distances"].string_value == "1.0 1.0 1.0 1.0"


def test_weights_and_biases_is_sent_the_history_and_the_options(labelled: Labelled, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    found = run(labelled, folder, THREE, trackers=tracked(folder, wandb=True, offline=True))
    rows = [row for row in logged(folder) if "presence_f1" in row]
    for name in ("train_loss", "valid_loss", "presence_f1", "severity_f1"):
        assert [float(row[name]) for row in rows] == pytest.approx(found.history[name].tolist())
    assert [int(row["step"]) for row in rows] == [STEPS, 2 * STEPS, 3 * STEPS]
    (sent,) = (record.run for record in records(folder) if record.WhichOneof("record_type") == "run")
    assert (sent.project, sent.display_name, sent.host) == ("cov3d", "run", "")
    config = {item.key: item.value_json for item in sent.config.update}
    assert (config["dropout"], config["size"]) == ("0.3", '"tiny"')
    kinds = {record.WhichOneof("record_type") for record in records(folder)}
    assert not kinds & {"files", "artifact", "output", "output_raw", "environment", "stats"}


def test_nothing_sent_names_a_scan_a_person_or_a_machine_and_nothing_is_pickled(
    labelled: Labelled, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    run(labelled, folder, QUICK, trackers=tracked(folder, tensorboard=True, wandb=True, offline=True))
    files = [file for name in ("tensorboard", "wandb") for file in (folder / name).rglob("*") if file.is_file()]
    assert sorted(file.name.partition(".")[0].partition("-")[0] for file in files) == ["events", "id", "run"]
    assert not [file for file in files if HOST in file.name]
    for name in ("tensorboard", "wandb"):
        assert_names_nothing(contents(folder / name), labelled, folder)
    if len(getpass.getuser()) > 3:
        assert getpass.getuser().encode() not in contents(folder / "wandb")
    assert os.uname().nodename not in "".join(file.name for file in files) or len(os.uname().nodename) < 4


def test_tracking_does_not_change_the_run(labelled: Labelled, tmp_path: Path) -> None:
    plain = run(labelled, tmp_path / "plain", THREE)
    watched = run(labelled, tmp_path / "watched", THREE, trackers=tracked(tmp_path / "watched", tensorboard=True))
    assert equal(weights(plain.model), weights(watched.model))
    assert (tmp_path / "plain" / "history.csv").read_bytes() == (tmp_path / "watched" / "history.csv").read_bytes()


class Interrupting(Tracker):
    """Ctrl-C in the second epoch, when its first steps have been sent."""

    order = 70

    def __init__(self) -> None:
        super().__init__(THREE, pytest.fail)

    def before_train(self) -> None:
        pass

    def after_epoch(self) -> None:
        pass

    def after_batch(self) -> None:
        if self.learn.epoch == 1 and self.learn.training and self.learn.iter == 4:
            raise KeyboardInterrupt


def test_a_resumed_run_is_shown_as_one(labelled: Labelled, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cov3d.training.tracking.tracker._STEPS", 2)
    unbroken, broken = tmp_path / "unbroken", tmp_path / "broken"
    run(labelled, unbroken, THREE, trackers=tracked(unbroken, tensorboard=True))
    started = tracked(broken, tensorboard=True, wandb=True, offline=True)
    with pytest.raises(KeyboardInterrupt):
        run(labelled, broken, THREE, trackers=[*started, Interrupting()])
    resumed = tracked(broken, tensorboard=True, wandb=True, offline=True)
    run(labelled, broken, THREE, trackers=resumed, continues=True)
    once, shown = scalars(unbroken), scalars(broken)
    assert [step for step, _ in once["loss"]] == list(range(2, 3 * STEPS + 1, 2))
    for name in ("train_loss", "presence_f1", "learning_rate"):
        assert shown[name] == once[name]
    assert [step for step, _ in shown["loss"]] == [step for step, _ in once["loss"]]
    sent = [record for record in records(broken) if record.WhichOneof("record_type") in ("run", "exit")]
    runs = [record.run.run_id for record in sent if record.WhichOneof("record_type") == "run"]
    assert len(runs) == 2
    assert runs[0] == runs[1]
    assert [record.exit.exit_code for record in sent if record.WhichOneof("record_type") == "exit"] == [1, 0]


class Failing(Tracker):
    """Fails at one of its duties."""

    def __init__(self, at: str, warn: Any) -> None:
        super().__init__(THREE, warn)
        self.at, self.sent = at, 0

    def fail(self, duty: str) -> None:
        if duty == self.at:
            raise TrackingError("the server is gone")

    def begin(self, step: int) -> None:
        self.fail("begin")

    def send(self, values: dict[str, float], step: int) -> None:
        self.sent += 1
        self.fail("send")

    def end(self) -> None:
        self.fail("end")


@pytest.mark.parametrize("at", ["send", "end"])
def test_a_tracker_that_fails_on_the_way_says_so_once_and_the_run_continues(
    labelled: Labelled, tmp_path: Path, at: str
) -> None:
    reported: list[str] = []
    failing = Failing(at, reported.append)
    found = run(labelled, tmp_path / "run", THREE, trackers=[failing])
    assert len(found.history) == 3
    assert reported == ["the server is gone; the run continues without it, and history.csv has every epoch"]
    assert failing.sent == (1 if at == "send" else 6)


def test_a_tracker_that_cannot_begin_ends_the_run_before_its_first_step(labelled: Labelled, tmp_path: Path) -> None:
    with pytest.raises(TrackingError, match="the server is gone"):
        run(labelled, tmp_path / "run", THREE, trackers=[Failing("begin", pytest.fail)])
    assert not (tmp_path / "run" / "history.csv").exists()


def test_overwrite_clears_what_trackers_left(labelled: Labelled, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    run(labelled, folder, QUICK, trackers=tracked(folder, tensorboard=True))
    (before,) = (folder / "tensorboard").iterdir()
    (folder / "wandb").mkdir()
    run(labelled, folder, QUICK, overwrite=True)
    assert not before.parent.exists()
    assert not (folder / "wandb").exists()


def test_a_missing_package_is_named_with_the_command_that_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracking, "find_spec", lambda name: None)
    for name in ("tensorboard", "wandb"):
        with pytest.raises(Cov3dError, match=rf"--{name} needs .* pip install 'cov3d\[{name}\]'"):
            tracked(tmp_path, **{name: True})


def test_weights_and_biases_without_a_key_is_refused_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_key(*arguments: object, **options: object) -> None:
        raise wandb.errors.UsageError("No API key configured")

    monkeypatch.setattr(wandb, "login", no_key)
    with pytest.raises(TrackingError, match=r"wandb login, set WANDB_API_KEY, .* --wandb-offline"):
        tracked(tmp_path, wandb=True)
    monkeypatch.setenv("WANDB_MODE", "offline")
    (offline,) = tracked(tmp_path, wandb=True)
    assert "wandb sync" in offline.where()
    monkeypatch.setenv("WANDB_MODE", "disabled")
    assert tracked(tmp_path, wandb=True) == []
