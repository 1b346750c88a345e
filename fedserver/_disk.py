"""What is the disk's fault, and no job's: a full disk, a failing one, a file that somebody else holds.

Such an error is raised as StorageError, and nothing else is: an error that would come again whenever the same is
tried is a fault of ours, and keeps its class. Nothing here knows what is stored.
"""

import errno
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fedcore.errors import StorageError

__all__ = ["flush", "of_files", "of_sqlite"]

_CODES = frozenset(
    {
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOMEM,
    }
)
"""SQLite's primary result codes."""

_NUMBERS = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS, errno.ENFILE, errno.EMFILE, errno.ENOMEM}
)


@contextmanager
def of_sqlite(what: str) -> Iterator[None]:
    """Give SQLite's errors about the disk the house's class.

    Args:
        what: What cannot be used now.
    Raises:
        StorageError: The block met such an error.
    """
    try:
        yield
    except sqlite3.OperationalError as error:
        # The low byte is the primary code; some errors of the module itself have none.
        if getattr(error, "sqlite_errorcode", -1) & 0xFF not in _CODES:
            raise
        raise StorageError(f"{what} cannot be used now ({error})", do="check its disk and who else holds it") from error


@contextmanager
def of_files(what: str) -> Iterator[None]:
    """The same for errors of the file system.

    Args:
        what: What cannot be written.
    Raises:
        StorageError: The block met such an error.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _NUMBERS:
            raise
        raise StorageError(f"{what} cannot be written now ({error.strerror})", do="make room on its disk") from error


def flush(*paths: Path) -> None:
    """Make files durable, and of directories the names in them."""
    for path in paths:
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
