"""Folder locks: only one process at a time writes results to a folder.

The lock is `flock` on the hidden file `.lock` in the folder. The system releases it when the process ends, also after
`kill -9`. Two cases need care:

- A forked child (a worker of a data loader) inherits the open file, and with it the lock. After `kill -9` of its parent
  it would keep the folder locked. So a child closes its copy right after the fork. POSIX record locks (`lockf`) are not
  inherited, but are lost when any other part of the process opens and closes the file. On NFS, Linux converts `flock`
  to such a lock on the server, so it also works between machines; for this the file must be opened for writing.
- If the lock file is removed at the end, a process that opened it just before has locked a deleted file. It detects
  this and tries again with the new file.

A second block on a folder is also refused in the same process, unless the first block allows it: `demo` calls commands
that lock its folder themselves.
"""

import errno
import fcntl
import os
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from io import TextIOWrapper
from pathlib import Path

from cov3d.errors import OutputError

FILE_NAME = ".lock"
_PATIENCE = 2.0
"""Seconds to try for: a killed process needs a moment to end, and a forked child to close its copy."""

_NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)
"""Errors of file systems without locks. There, folders are not locked."""


@dataclass
class _Lock:
    """A lock of this process: its open file and thread, whether blocks may be nested, and the number of blocks."""

    opened: TextIOWrapper
    thread: int
    nests: bool
    blocks: int = 1


_locks: dict[Path, _Lock] = {}
_changing = threading.RLock()


@contextmanager
def folder_lock(
    folder: Path,
    what: str,
    remedy: str = "wait for it, or give another --output-dir",
    *,
    nests: bool = False,
    removes: bool = False,
) -> Iterator[None]:
    """Lock a folder for this process while the block runs. The end of the process also releases the lock.

    Args:
        folder: made if it is missing.
        what: a name for the user of the folder, for the error.
        remedy: what to do, for the error.
        nests: whether nested blocks in the same thread may lock the folder, too.
        removes: whether to remove the lock file at the end, and the folders that were made here and are empty.

    Raises:
        OutputError: another process has locked the folder, or it can't be written.
    """
    try:
        missing = [path for path in (folder, *folder.parents) if not path.exists()]
        taken = _take(folder, nests)
        key = folder.resolve()
    except OSError as error:
        raise OutputError(f"{folder} can't be written: {error.strerror or error}") from error
    if not taken:
        raise OutputError(f"another {what} is using {folder}: {remedy}")
    try:
        yield
    finally:
        _release(key, removes=removes)
        with suppress(OSError):
            for path in missing if removes else ():
                path.rmdir()


def _take(folder: Path, nests: bool) -> bool:
    """Take the lock, or enter it again; False if another block, process or thread has it."""
    end = time.monotonic() + _PATIENCE
    while True:
        with _changing:
            folder.mkdir(parents=True, exist_ok=True)
            key = folder.resolve()
            if (lock := _locks.get(key)) is not None:
                if lock.nests and lock.thread == threading.get_ident():
                    lock.blocks += 1
                    return True
                return False
            if _lock_file(key, nests):
                return True
        if time.monotonic() > end:
            return False
        time.sleep(0.1)


def _lock_file(folder: Path, nests: bool) -> bool:
    """Lock the file in the folder; False if another process has locked it, or it was removed meanwhile."""
    with ExitStack() as stack:
        try:
            opened = stack.enter_context((folder / FILE_NAME).open("w"))
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, FileNotFoundError):  # locked, or the empty folder was removed
            return False
        except OSError as error:
            if error.errno in _NO_LOCKS:
                return True
            raise
        if not _is_in_place(opened, folder):
            return False
        _locks[folder] = _Lock(opened, threading.get_ident(), nests)
        stack.pop_all()  # it stays open
    return True


def _is_in_place(opened: TextIOWrapper, folder: Path) -> bool:
    """Whether an open lock file is still the one in the folder. Its last owner may have removed it."""
    try:
        return os.path.samestat(os.fstat(opened.fileno()), (folder / FILE_NAME).stat())
    except FileNotFoundError:
        return False


def _release(folder: Path, *, removes: bool) -> None:
    with _changing:
        if (lock := _locks.get(folder)) is None:  # a file system without locks, or a forked child
            return
        lock.blocks -= 1
        if lock.blocks:
            return
        del _locks[folder]
        with suppress(OSError):
            if removes and _is_in_place(lock.opened, folder):
                (folder / FILE_NAME).unlink()
        lock.opened.close()


def _forget_in_child() -> None:
    """Close a forked child's copies of its parent's locks."""
    global _changing
    _changing = threading.RLock()  # another thread may have held the old one during the fork
    for lock in _locks.values():
        with suppress(OSError):
            lock.opened.close()
    _locks.clear()


os.register_at_fork(after_in_child=_forget_in_child)
