"""The folder in which ExecuTorch looks for QNN's libraries, made of links to those in the wheel `onnxruntime-qnn`.

Nothing is copied and nothing is downloaded. Left without such a folder, ExecuTorch would fetch an SDK; given a wrong
one, it ends the process.
"""

import hashlib
import importlib.util
import os
from pathlib import Path
from typing import Final

from pocketcrafter.runtime.backends.qnn import WHEEL_VERSION, why_no_qnn
from pocketcrafter.runtime.errors import BackendError
from pocketcrafter.runtime.files import user_cache

_LIBRARIES: Final = Path("lib") / "x86_64-linux-clang"
_NEEDED: Final = ("libQnnHtp.so", "libQnnSystem.so", "libHtpPrepare.so")
_PREFIXES: Final = ("libQnn", "libHtp")
_OWN_LIBRARIES: Final = "onnxruntime_qnn.libs"
"""Beside the package in site-packages: the C++ library that its libraries find by a path relative to their own."""


def qnn_environment() -> dict[str, str]:
    """Return the variables with which a process finds QNN; they must be set before it starts.

    Raises
    ------
    BackendError
        If the wheel is missing, of another version or incomplete, or no folder for links can be made.
    """
    folder = sdk_folder()
    libraries = [str(folder / _LIBRARIES), *filter(None, [os.environ.get("LD_LIBRARY_PATH")])]
    return {"QNN_SDK_ROOT": str(folder), "LD_LIBRARY_PATH": os.pathsep.join(libraries)}


def sdk_folder() -> Path:
    """Return the folder, made or mended where necessary.

    Raises
    ------
    BackendError
        As :func:`qnn_environment`.
    """
    if reason := why_no_qnn():
        raise BackendError(f"QNN cannot run: {reason}")
    wheel = _wheel()
    mark = hashlib.sha256(str(wheel).encode()).hexdigest()[:12]
    folder = user_cache() / f"qnn-{WHEEL_VERSION}-{mark}"
    try:
        (folder / _LIBRARIES).mkdir(parents=True, exist_ok=True)
        for library in sorted(wheel.iterdir()):
            if library.name.startswith(_PREFIXES):
                _link(folder / _LIBRARIES / library.name, library)
        _link(folder / "lib" / _OWN_LIBRARIES, wheel.parent / _OWN_LIBRARIES)
    except OSError as error:
        raise BackendError(
            f"{folder}: cannot hold the links to QNN's libraries ({error}). Set XDG_CACHE_HOME to a folder that can."
        ) from error
    if absent := [name for name in _NEEDED if not (folder / _LIBRARIES / name).is_file()]:
        raise BackendError(f"{folder}: {', '.join(absent)} lead nowhere; delete the folder and try again.")
    return folder


def _wheel() -> Path:
    spec = importlib.util.find_spec("onnxruntime_qnn")
    folders = [Path(folder) for folder in (spec.submodule_search_locations or ())] if spec else []
    return next(folder.resolve() for folder in folders if (folder / _NEEDED[0]).is_file())


def _link(link: Path, to: Path) -> None:
    if link.is_symlink() and link.readlink() == to:
        return
    temporary = link.with_name(f".{link.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(to)
    temporary.replace(link)
