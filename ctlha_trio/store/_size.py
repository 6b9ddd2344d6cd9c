"""Whether a backing file is as large as it has to be, and stays so: no other volume is ever served of it."""

import logging
import shlex
from typing import Final

import attrs

from ctlha_trio._errors import ConfigError, NotWholeError, StoreError
from ctlha_trio.store._layout import BITMAP_OFFSET, Layout, volume_bytes

_FILE = "volume.file"
_SIZE = "volume.size_bytes"
_LOG: Final = logging.getLogger(__name__)


@attrs.define(eq=False)
class SizeWatch:
    """What the size of an open backing file says, look after look."""

    _path: str
    _whole: int
    _has_grown: bool = attrs.field(default=False, init=False)

    def look(self, file_bytes: int) -> StoreError | None:
        """What ends the store, if the file lacks anything of the volume. A change of what it has too much is logged."""
        if file_bytes < self._whole:
            return StoreError(f"{self._path}: {_change(file_bytes, self._whole)}; what was cut off is lost")
        has_grown = file_bytes > self._whole
        if has_grown is not self._has_grown:
            self._has_grown = has_grown
            if has_grown:
                _LOG.error(
                    "%s: %s; nothing is lost, but the node would not start again; what puts it right, also while the "
                    "node runs: %s",
                    self._path,
                    _change(file_bytes, self._whole),
                    _cut_back(self._path, self._whole),
                )
            else:
                _LOG.warning("%s: has the %d bytes again with which it was made", self._path, self._whole)
        return None


def check_has_head(path: str, file_bytes: int) -> None:
    """``NotWholeError`` if the file does not even have room for what stands before the volume."""
    if file_bytes < BITMAP_OFFSET:
        problem = f"has {file_bytes or 'no'} bytes, and is not a ctlha volume: it was cut short, or never was one"
        raise NotWholeError(path, _FILE, problem)


def check_size(path: str, file_bytes: int, size_bytes: int, *, made_with: int | None) -> None:
    """``NotWholeError`` if the file was cut short, another ``ConfigError`` if it is of another size otherwise.

    ``made_with``: the size that its own metadata says; None of a file that does not, which goes by how large it is.
    """
    if made_with is None:
        _check_size_of_file(path, file_bytes, size_bytes)
        return
    whole = Layout(made_with).file_bytes
    changed = "" if file_bytes == whole else _change(file_bytes, whole)
    if made_with != size_bytes:
        told = f"; and the file {changed}" if changed else ""
        problem = f"says {size_bytes}, and the volume was made with {made_with} bytes: set it back to that{told}"
        raise ConfigError(path, _SIZE, problem)
    if file_bytes < whole:
        raise NotWholeError(path, _FILE, changed)
    if changed:
        raise ConfigError(path, _FILE, f"{changed}; what puts it right, and loses nothing: {_cut_back(path, whole)}")


def _change(file_bytes: int, whole: int) -> str:
    happened = "was cut short" if file_bytes < whole else "has grown"
    return f"has {file_bytes} bytes, of the {whole} with which it was made: it {happened}"


def _cut_back(path: str, whole: int) -> str:
    """Never longer, should the file be too short when somebody comes to give it: zeros would pass for the volume's."""
    return shlex.join(["truncate", "-s", f"<{whole}", path])


def _check_size_of_file(path: str, file_bytes: int, size_bytes: int) -> None:
    made_for = volume_bytes(file_bytes)
    if made_for is None:
        raise NotWholeError(path, _FILE, f"has {file_bytes} bytes, as no volume has: it was cut short or grew")
    if made_for != size_bytes:
        raise ConfigError(
            path,
            _SIZE,
            f"says {size_bytes}, and a file of {file_bytes} bytes holds "
            f"{made_for}: it was made for that, or cut short, or has grown",
        )
