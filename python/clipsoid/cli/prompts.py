"""Files that say which prompt each row was made for: one identifier for each row."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def read_prompts(path: Path, column: str | None, count: int, of: str) -> NDArray[np.str_]:
    """Return the prompts of the `count` rows of `of`, as text: 17 is the same in every format.

    Parameters
    ----------
    path : Path
        An array of integers or text (.npy), or a table (.csv, .parquet).
    column : str or None
        Of the table; None where it has one alone.
    count : int
        Rows.
    of : str
        What a message calls them.

    Raises
    ------
    StoreError
        If the file cannot be read, or holds something else.
    MismatchError
        If there is not one prompt for each row.
    """
    from clipsoid.errors import MismatchError, StoreError

    found = _array(path) if path.suffix.lower() == ".npy" else _column(path, column)
    if found.ndim != 1 or found.dtype.kind not in "iuU":
        raise StoreError(
            f"{path}: found {found.dtype} of shape {found.shape}; wanted a prompt for each row, as "
            "integers or text"
        )
    if len(found) != count:
        raise MismatchError(
            f"{path}: has {len(found)} prompts, {of} has {count} rows; wanted one for each row"
        )
    return found.astype("U")


def _array(path: Path) -> NDArray[Any]:
    import numpy as np

    from clipsoid.errors import StoreError

    try:
        return np.asarray(np.load(path, allow_pickle=False))
    except (OSError, ValueError) as error:
        raise StoreError(f"{path}: cannot be read: {error}") from None


def _column(path: Path, column: str | None) -> NDArray[Any]:
    import numpy as np
    import polars as pl

    from clipsoid.cli.options import read_table
    from clipsoid.errors import StoreError

    frame = read_table(path)
    if column is None and frame.width == 1:
        column = frame.columns[0]
    if column not in frame.columns:
        raise StoreError(
            f"{path}: has no column {column!r}; it has {', '.join(frame.columns)}: --prompt-column"
            if column
            else f"{path}: has the columns {', '.join(frame.columns)}; say which: --prompt-column"
        )
    prompts = frame[column]
    if prompts.null_count():
        row = prompts.is_null().arg_max()
        raise StoreError(f"{path}: row {row} of {column!r} is missing; wanted a prompt")
    # Text of polars is one of Python's objects in numpy.
    return np.array(prompts.to_list()) if prompts.dtype == pl.String else prompts.to_numpy()
