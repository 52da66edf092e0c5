"""Holding a folder: one process at a time writes results to it.

The lock is `flock` on the hidden file `.lock` in the folder. The system releases it when the process ends, however that
happens. Two things need care:

- A forked child (a worker of a data loader) inherits the open file, and with it the lock: after `kill -9` of its parent
  it would hold the folder until it ends itself. So a child closes its copy right after the fork. POSIX record locks
  (`lockf`) are not inherited, but they are lost when any other part of the process opens and closes the file. On NFS,
  Linux turns `flock` into such a lock on the server, so it holds between machines too; that needs a file opened for
  writing.
- Where the lock file is removed at the end, a process that opened it just before holds a file that is gone: it notices
  and tries again with the new one.

A second block on a folder is refused in the same process too, unless the first one allows it: `demo` calls commands
that hold its folder themselves.
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
"""Seconds to try for: a killed process needs a moment to end, and a child forked just then to close its copy."""

_NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)
"""What a file system without locks answers: there, nothing is held."""


@dataclass
class _Lock:
    """A lock of this process: its open file, its thread, whether blocks within may hold it too, and how many do."""

    opened: TextIOWrapper
    thread: int
    nests: bool
    blocks: int = 1


_locks: dict[Path, _Lock] = {}
_changing = threading.RLock()


@contextmanager
def held(
    folder: Path,
    what: str,
    remedy: str = "wait for it, or give another --output-dir",
    *,
    nests: bool = False,
    removes: bool = False,
) -> Iterator[None]:
    """Hold a folder for this process as long as the block runs; the end of the process releases it in any case.

    Args:
        folder: made if it is missing.
        what: what works in it, for the error.
        remedy: what to do, for the error.
        nests: whether blocks within, of the same thread, may hold the folder too.
        removes: whether to remove the lock file at the end, and the folders that were made here and are empty.

    Raises:
        OutputError: another process holds it, or it can't be written.
    """
    try:
        missing = [path for path in (folder, *folder.parents) if not path.exists()]
        taken = _take(folder, nests)
        key = folder.resolve()
    except OSError as error:
        raise OutputError(f"{folder} can't be written: {error.strerror or error}") from error
    if not taken:
        raise OutputError(f"another {what} works in {folder}: {remedy}")
    try:
        yield
    finally:
        _release(key, removes=removes)
        with suppress(OSError):
            for path in missing if removes else ():
                path.rmdir()


def _take(folder: Path, nests: bool) -> bool:
    """Take the lock, or enter it once more; False where another block, process or thread has it."""
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
    """Lock the file in the folder; False where another process has it, or it was removed meanwhile."""
    with ExitStack() as stack:
        try:
            opened = stack.enter_context((folder / FILE_NAME).open("w"))
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, FileNotFoundError):  # or the folder was removed, being empty
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
    """Whether an open lock file is still the one in the folder: whoever had it before may have removed it."""
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
    """Close a forked child's copies of the locks: they are its parent's."""
    global _changing
    _changing = threading.RLock()  # another thread may have had it at the fork
    for lock in _locks.values():
        with suppress(OSError):
            lock.opened.close()
    _locks.clear()


os.register_at_fork(after_in_child=_forget_in_child)
