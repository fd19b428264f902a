"""A zip of a bundle: always packed alike, unpacked with nothing taken on trust: names, sizes, links, amount of data."""

import errno
import shutil
import stat
import zipfile
import zlib
from pathlib import Path

from pocketcrafter.runtime.bundle.integrity import is_clutter
from pocketcrafter.runtime.bundle.manifest import (
    MANIFEST,
    MAX_FILE_BYTES,
    MAX_FILES,
    RESERVED,
    safe_path,
)
from pocketcrafter.runtime.errors import BundleError
from pocketcrafter.runtime.files import replacing

_MAX_RATIO = 100
_FREE_BYTES = 1 << 20  # small archives may compress as well as they like
_EPOCH = (1980, 1, 1, 0, 0, 0)
_PLAIN_FILE = 0o644 << 16
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def pack(root: Path, archive: Path) -> None:
    """Zip a bundle's directory, whole or not at all; the same files give the same bytes, whenever they were written.

    Clutter stays out.

    Parameters
    ----------
    root
        The directory.
    archive
        The zip.

    Raises
    ------
    StorageError
        If it cannot be written.
    """
    with replacing(archive) as temporary, zipfile.ZipFile(temporary, "w") as zipped:
        for file in sorted(p for p in root.rglob("*") if p.is_file()):
            name = file.relative_to(root).as_posix()
            if is_clutter(name):
                continue
            info = zipfile.ZipInfo(name, _EPOCH)
            info.compress_type, info.external_attr = zipfile.ZIP_DEFLATED, _PLAIN_FILE
            with file.open("rb") as source, zipped.open(info, "w") as target:
                shutil.copyfileobj(source, target)


def unpack(archive: Path, out: Path) -> None:
    """Unpack a zipped bundle.

    Parameters
    ----------
    archive
        The zip; the bundle's files lie at its root, or all in one folder. What Finder or Explorer put beside them
        (``__MACOSX/``, ``.DS_Store``, ``Thumbs.db``, ``desktop.ini``) is left out.
    out
        An empty directory that receives the bundle's files.

    Raises
    ------
    BundleError
        If the archive is damaged, holds links, repeated names or paths that leave the bundle, or unpacks to far more
        than a bundle's size; or if the place to unpack to is full.
    """
    unpacked = 0
    try:
        with zipfile.ZipFile(archive) as zipped:
            members = _checked_members(archive, zipped)
            unpacked = sum(member.file_size for member, _ in members)
            for member, path in members:
                destination = out / path
                destination.parent.mkdir(parents=True, exist_ok=True)
                with zipped.open(member) as source, destination.open("xb") as target:
                    shutil.copyfileobj(source, target)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise BundleError(f"{archive}: the archive is damaged: {error}") from error
    except OSError as error:
        if error.errno in _FULL:
            raise BundleError(
                f"{archive}: unpacked it takes {unpacked} bytes, and the temporary folder {out.parent} has no room for "
                "them. Free some, set TMPDIR to a folder that has it, or unpack it yourself and open that folder."
            ) from error
        raise BundleError(f"{archive}: cannot be unpacked to {out.parent}: {error}") from error


def _checked_members(archive: Path, zipped: zipfile.ZipFile) -> list[tuple[zipfile.ZipInfo, str]]:
    infos = [i for i in zipped.infolist() if not i.is_dir() and not is_clutter(i.filename)]
    if len(infos) > MAX_FILES + len(RESERVED):
        raise BundleError(f"{archive}: {len(infos)} files; a bundle has at most {MAX_FILES}.")
    total, packed = sum(i.file_size for i in infos), sum(i.compress_size for i in infos)
    if total > max(_FREE_BYTES, min(MAX_FILE_BYTES, _MAX_RATIO * min(packed, archive.stat().st_size))):
        raise BundleError(f"{archive}: {packed} bytes would unpack to {total}; no bundle compresses like that.")
    prefix = _prefix([i.filename for i in infos])
    members = []
    for info in infos:
        if info.flag_bits & 1:
            raise BundleError(f"{archive}: `{info.filename}` is encrypted.")
        if stat.S_ISLNK(info.external_attr >> 16):
            raise BundleError(f"{archive}: `{info.filename}` is a symbolic link; a bundle holds plain files only.")
        try:
            members.append((info, safe_path(info.filename.removeprefix(prefix))))
        except ValueError as error:
            raise BundleError(f"{archive}: {error}.") from error
    folded = [path.casefold() for _, path in members]
    if len(set(folded)) != len(folded):
        raise BundleError(f"{archive}: a name occurs twice.")
    return members


def _prefix(names: list[str]) -> str:
    folders = {name.split("/")[0] for name in names}
    folder = next(iter(folders), "")
    return f"{folder}/" if MANIFEST not in names and folders == {folder} else ""
