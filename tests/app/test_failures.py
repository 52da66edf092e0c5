"""What a library says in several lines, where it comes to the user: one sentence, with the file in it."""

import errno
import os
import pickle
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch._utils import ExceptionWrapper

from cov3d import errors
from cov3d.datasets import scan_table
from cov3d.models import registry
from cov3d.training import checkpoint
from tests.app.conftest import Command
from tests.conftest import sphere_chest, write_slices
from tests.training.test_checkpoint import INFO

SENTENCE = "/data/a.npy.zst is damaged (cut short): delete it and preprocess again"


def fail_with(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object, **options: object) -> None:
        raise error

    monkeypatch.setattr(scan_table, "build", fail)


def handed_over(error: Exception) -> Exception:
    """The error as torch raises it again when a loading process met it."""
    try:
        raise error
    except Exception:  # noqa: BLE001
        wrapped = ExceptionWrapper(where="in DataLoader worker process 0")
    try:
        wrapped.reraise()
    except Exception as again:  # noqa: BLE001
        return again
    raise AssertionError


@pytest.mark.parametrize("kind", [errors.StoreError, errors.ScanError, errors.Cov3dError])
def test_an_error_from_a_loading_process_is_its_sentence(kind: type[Exception]) -> None:
    assert str(handed_over(kind(SENTENCE))) == SENTENCE
    assert str(handed_over(handed_over(kind(SENTENCE)))) == SENTENCE
    assert str(handed_over(kind("a file\nof a bad name is damaged"))) == "a file of a bad name is damaged"


def test_an_error_is_the_same_sentence_on_another_machine() -> None:
    assert str(pickle.loads(pickle.dumps(errors.StoreError(SENTENCE)))) == SENTENCE  # noqa: S301  our own


def test_lines_are_put_together_and_a_long_list_is_cut_in_its_middle() -> None:
    assert errors.one_line("a:\n\tb,\r\n  c") == "a: b, c"
    assert errors.one_line("  a  b") == "  a  b"
    keys = "".join(f"\n\tMissing key layer.{number}" for number in range(500))
    text = errors.one_line(f"/runs/a.safetensors is damaged ({keys}): train again")
    assert text.startswith("/runs/a.safetensors is damaged ( Missing key layer.0 Missing key layer.1 ")
    assert text.endswith(" layer.499): train again")
    assert len(text) < 700
    assert errors.one_line("x" * 5000) == "x" * 5000  # a sentence of ours is not cut


def test_weights_of_another_shape_name_the_file(cov3d: Command, tmp_path: Path) -> None:
    file, other = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    checkpoint.save(file, registry.build(INFO.architecture, outputs=len(INFO.categories), **INFO.model), INFO)
    with safe_open(file, framework="pt") as opened:
        weights = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
        metadata = opened.metadata()
    name = list(weights)[-1]
    save_file({**weights, name: torch.zeros(7)}, other, metadata)
    write_slices(tmp_path / "scan", sphere_chest())
    ended = cov3d("infer", "--checkpoint", other, "--scans", tmp_path, "--output-dir", tmp_path / "out")
    assert ended.code == 2
    assert ended.err.startswith(f"error: {other} is damaged, or ")
    assert f"{name} has the shape (7,), not " in ended.err
    assert len(ended.err.splitlines()) == 1


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), "a file can't be read or written: No space left on device"),
        (OSError(errno.EACCES, "Permission denied", "/a\nb"), "/a b can't be read or written: Permission denied"),
        (OSError(errno.EIO, "I/O error", b"/a\xe9"), "/a\\udce9 can't be read or written: I/O error"),
        (errors.DatasetError("a.csv can't be read:\nError\n"), "a.csv can't be read: Error"),
        (errors.DatasetError("\x1b[31mred.csv is bad :x: [b]"), "\\x1b[31mred.csv is bad :x: [b]"),
        (errors.ScanError("a" * 300 + " is bad"), "a" * 300 + " is bad"),
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_one_line_with_the_file(
    cov3d: Command, error: Exception, sentence: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fail_with(error, monkeypatch)
    ended = cov3d("folds", "--data", tmp_path)
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.encode("ascii", "backslashreplace").decode() == f"error: {sentence}\n"


def test_an_internal_error_is_shown_whole(cov3d: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fail_with(ZeroDivisionError("division"), monkeypatch)
    with pytest.raises(ZeroDivisionError):
        cov3d("folds", "--data", tmp_path)
