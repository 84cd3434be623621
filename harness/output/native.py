"""Keeps libraries from writing to stderr past Python."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

STDERR = 2


@contextmanager
def native_errors_hidden() -> Iterator[None]:
    """Hide what native code writes to stderr, for this whole process.

    When Rust code panics, as polars does on some damaged files, it writes a traceback there. Python gets the
    error all the same, and the lab says it in one line.
    """
    sys.stderr.flush()
    kept, nowhere = os.dup(STDERR), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, STDERR)
    try:
        yield
    finally:
        sys.stderr.flush()
        os.dup2(kept, STDERR)
        for descriptor in (kept, nowhere):
            os.close(descriptor)
