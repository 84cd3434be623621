"""`compiled`: turns a function into machine code, once for each version and place of this package.

Numba keeps machine code by the place and source of the function's own file, and does not notice a change of a
function that it calls in another file. So the code is kept in a folder that is named after the place and the
source of all of them.
"""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import numba
import numpy as np

WITHOUT_KERNELS = ("simulation.py", "compile_now.py")  # no kernel uses anything of these
KEPT_VERSIONS = 5  # whose machine code stays on disk: those that were used last
_FOLDER = "lb-lab-simulator"

whole: Any = np.int64  # makes a signed number of an unsigned one or of a float; numpy's own type is not int
Function = TypeVar("Function", bound=Callable[..., Any])


def cache_folder() -> Path:
    """Return the folder for this version's machine code: in the user's cache, or in /tmp if that is closed.

    XDG_CACHE_HOME names another place for the user's cache, as for other programs.
    """
    version = source_version(Path(__file__).parent)
    user = Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser())
    for parent in (user / _FOLDER, Path(tempfile.gettempdir()) / f"{_FOLDER}-{os.getuid()}"):
        try:
            (parent / version).mkdir(parents=True, exist_ok=True)
            os.utime(parent / version)  # what is in use is not old
        except OSError:
            continue
        if os.access(parent / version, os.W_OK):
            _remove_old_versions(parent)
            return parent / version
    return Path(tempfile.mkdtemp(prefix=_FOLDER))


def is_compiled(kernel: str) -> bool:
    """Return whether the machine code of a kernel, as "engine.run", is there already."""
    return any(Path(vars(numba.config)["CACHE_DIR"]).rglob(f"{kernel}-*.nbi"))


def _remove_old_versions(parent: Path) -> None:
    versions = sorted(parent.iterdir(), key=lambda folder: folder.stat().st_mtime)
    for folder in versions[:-KEPT_VERSIONS]:
        shutil.rmtree(folder, ignore_errors=True)


def source_version(package: Path) -> str:
    """Return a name that changes with place and source of the kernels, and with the version of Numba."""
    digest = hashlib.sha256(f"{numba.__version__}\0{package.resolve()}\0".encode())
    for path in sorted(package.glob("*.py")):
        if path.name in WITHOUT_KERNELS:
            continue
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def compiled(function: Function) -> Function:
    """Return the function as machine code, which is made when it is first called with such arguments.

    Numba would make it anew for each constant and each size of integer that another kernel gives it. Here all
    signed integers have 64 bits, which leaves a third less to compile.
    """
    made: Any = numba.njit(cache=True, nogil=True)(function)
    template = made.get_call_template
    made.get_call_template = lambda args, kws: template(tuple(map(_plain, args)), kws)
    return cast(Function, made)


def _plain(kind: Any) -> Any:
    """Return the type of an argument: int64 for every signed integer."""
    types: Any = numba.types
    kind = types.unliteral(kind)
    return types.int64 if isinstance(kind, types.Integer) and kind.signed else kind


vars(numba.config)["CACHE_DIR"] = str(cache_folder())
