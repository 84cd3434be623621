"""Temporary folders that are removed even if their owner is killed, because keys and secrets may be in them.

The name of a folder says whose it is: lb-lab-KIND-MARK-RANDOM, with the owner's mark (owner.py). A guard, a
process of its own, removes the folder when the owner has ended. If the guard was killed, too, the next start
of the lab removes it.
"""

import re
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from os import getuid
from pathlib import Path

from harness.leftovers import guard
from harness.leftovers.owner import is_alive, owner

_NAME = re.compile(r"lb-lab-[a-z-]+-(?P<mark>[0-9]+\.[0-9]+\.[0-9]+)-[^-.]+")


@contextmanager
def scratch_folder(kind: str) -> Iterator[Path]:
    """Give a new folder that only this user can enter, and remove it at the end. `kind`: a-z and `-`.

    Folders that killed processes have left are removed first.
    """
    remove_abandoned()
    folder = Path(tempfile.mkdtemp(prefix=f"lb-lab-{kind}-{owner()}-"))
    watch = subprocess.Popen(  # noqa: S603 - our own program
        [sys.executable, "-I", "-S", str(Path(guard.__file__)), str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        start_new_session=True,  # so that Ctrl-C in the terminal reaches only the owner
    )
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        watch.kill()
        watch.communicate()


def remove_abandoned() -> None:
    """Remove the folders of owners that no longer exist.

    Only this user's own folders: nobody else's, no links and no files, whatever their names are.
    """
    for path in Path(tempfile.gettempdir()).glob("lb-lab-*"):
        named = _NAME.fullmatch(path.name)
        with suppress(OSError):  # another start of the lab removes it at this moment
            status = path.lstat()
            own = stat.S_ISDIR(status.st_mode) and status.st_uid == getuid()
            if named and own and not is_alive(named["mark"]):
                shutil.rmtree(path)  # follows no links
