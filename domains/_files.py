"""Files that are there whole or not at all.

>>> path = Path(tempfile.mkdtemp()) / "note.md"
>>> write_whole(path, b"S: well", mode=0o600)
>>> path.read_bytes(), oct(path.stat().st_mode & 0o777)
(b'S: well', '0o600')
"""

import os
import tempfile
from pathlib import Path

__all__ = ["write_whole"]


def write_whole(path: Path, data: bytes, *, mode: int) -> None:
    """Write a file whole or not at all: it is on the disk before it has its name.

    Args:
        path: Where; its folder exists, and what was there is replaced.
        data: All of the file.
        mode: Its permissions, such as 0o600.
    Raises:
        OSError: It cannot be written; what was there stays.
    """
    handle, draft = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(draft).chmod(mode)
        Path(draft).replace(path)
    except BaseException:
        Path(draft).unlink(missing_ok=True)
        raise
