"""Whether a backing file is as large as it has to be: no other volume is ever served of it."""

from ctlha_trio._errors import ConfigError, NotWholeError
from ctlha_trio.store._layout import BITMAP_OFFSET, Layout, volume_bytes

_FILE = "volume.file"
_SIZE = "volume.size_bytes"


def check_has_head(path: str, file_bytes: int) -> None:
    """``NotWholeError`` if the file does not even have room for what stands before the volume."""
    if file_bytes < BITMAP_OFFSET:
        problem = f"has {file_bytes or 'no'} bytes, and is not a ctlha volume: it was cut short, or never was one"
        raise NotWholeError(path, _FILE, problem)


def check_size(path: str, file_bytes: int, size_bytes: int, *, made_with: int | None) -> None:
    """``NotWholeError`` unless the file is whole, another ``ConfigError`` unless it is of a volume of ``size_bytes``.

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
    if changed:
        raise NotWholeError(path, _FILE, changed)


def _change(file_bytes: int, whole: int) -> str:
    happened = "was cut short" if file_bytes < whole else "has grown"
    return f"has {file_bytes} bytes, of the {whole} with which it was made: it {happened}"


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
