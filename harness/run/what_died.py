"""Names the component that died, when the error seen first is only a consequence of its death."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from harness.errors import LabError, UserError
from harness.testbed.base import Testbed

NOTICED_S = 0.5  # from the death of a component until the testbed knows of it, also on a busy machine
POLL_S = 0.02


@contextmanager
def what_died(testbed: Testbed) -> Iterator[None]:
    """Within it, a LabError that follows from the death of a component becomes the error that names it.

    A call to a dead component fails at once, often before the testbed has been told that it ended.
    """
    try:
        yield
    except UserError:
        raise
    except LabError:
        deadline_s = time.monotonic() + NOTICED_S
        while time.monotonic() < deadline_s:
            testbed.check()
            time.sleep(POLL_S)
        raise
