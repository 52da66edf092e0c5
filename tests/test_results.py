"""Results of several files: whole or as before, whatever happens in between."""

import errno
from pathlib import Path

import pytest

from cov3d.errors import OutputError
from cov3d.files import write_text
from cov3d.results import check_free, staged

NAMES = ("table.csv", "list", "old.txt")


def contents(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def earlier(tmp_path: Path) -> Path:
    """An earlier result, and a file of somebody else."""
    for name in ("table.csv", "list/a.csv", "list/stale.csv", "old.txt", "notes.txt"):
        write_text(tmp_path / name, f"{name} as before")
    return tmp_path


def write(stage: Path) -> None:
    write_text(stage / "table.csv", "new table")
    write_text(stage / "list" / "a.csv", "new list")


NEW = {"table.csv": "new table", "list/a.csv": "new list", "notes.txt": "notes.txt as before"}


def test_new_results_replace_the_earlier_ones_and_nothing_else(earlier: Path) -> None:
    with pytest.raises(OutputError, match=r"already holds a result: give another --output-dir, or --overwrite"):
        check_free(earlier, NAMES, overwrite=False, what="a result")
    check_free(earlier, NAMES, overwrite=True, what="a result")
    with staged(earlier, NAMES) as stage:
        write(stage)
        assert contents(earlier)["table.csv"] == "table.csv as before"
    assert contents(earlier) == NEW


@pytest.mark.parametrize(
    ("error", "wanted"),
    [
        (ValueError("x"), ValueError),
        (KeyboardInterrupt(), KeyboardInterrupt),
        (OSError(errno.ENOSPC, "No space left on device"), OutputError),
    ],
)
def test_an_error_leaves_the_earlier_results_as_they_were(
    earlier: Path, error: BaseException, wanted: type[BaseException]
) -> None:
    before = contents(earlier)

    def interrupted() -> None:
        with staged(earlier, NAMES) as stage:
            write(stage)
            raise error

    with pytest.raises(wanted):
        interrupted()
    assert contents(earlier) == before


def test_a_full_disk_names_the_file_where_it_would_be(earlier: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OutputError) as caught, staged(earlier, NAMES) as stage:
        write_text(stage / "table.csv", "x")
    assert str(caught.value) == f"{earlier / 'table.csv'} can't be written: No space left on device"


def test_killed_at_any_move_the_next_command_ends_with_complete_results(
    earlier: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class KilledError(BaseException):
        pass

    before = contents(earlier)
    rename, replace = Path.rename, Path.replace
    for moves in range(5):
        for name, text in before.items():
            write_text(earlier / name, text)
        done = 0

        def counting(path: Path, target: Path) -> Path:
            nonlocal done
            if ".part" in path.name:
                return replace(path, target)
            if done == moves:  # noqa: B023
                raise KilledError
            done += 1
            return rename(path, target)

        with monkeypatch.context() as patch:
            patch.setattr(Path, "rename", counting)
            patch.setattr(Path, "replace", counting)
            try:
                with staged(earlier, NAMES) as stage:
                    write(stage)
            except KilledError:
                pass
        if done < 4:
            # Of a result that was being put in place the command is not finished: it needs no --overwrite.
            check_free(earlier, NAMES, overwrite=moves == 0, what="a result")
        assert contents(earlier) == (before if moves == 0 else NEW), moves
    assert moves == done == 4


def test_a_folder_that_can_not_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="can't be written"):
        check_free(tmp_path / "file", NAMES, overwrite=False, what="a result")
