"""A disk without room, for a test: while the block runs, the kernel lets this process write to no file.

The limit is on a file's size, so a program is told "file too large" where a full disk says "no space left"; SQLite
calls it an I/O error. Whoever takes the one as the machine's fault has to take the other so.
"""

import resource
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["full_disk"]


@contextmanager
def full_disk() -> Iterator[None]:
    """No file can be written to."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
