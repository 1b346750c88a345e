"""Processes that a node starts: none outlives the one that started it."""

import multiprocessing
import os
from multiprocessing.connection import wait

__all__ = ["end_with_parent"]


def end_with_parent() -> None:
    """Wait for the parent process to end, however it does, and end this one; for a thread of its own."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
