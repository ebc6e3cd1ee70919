"""How a page says what the metadata of files hold by name."""

from __future__ import annotations

#: By the name of an entry: what it is called, and what its values are called.
ENTRIES: dict[str, tuple[str, dict[str, str]]] = {
    "clipsoid version": ("version of clipsoid", {}),
    "member": (
        "the scored rows",
        {
            "True": "are those of the ellipsoid: each is left out of its own mean",
            "False": "are not among those of the ellipsoid",
        },
    ),
    "ellipsoid rows": ("rows of the ellipsoid", {}),
    "dim": ("features", {}),
    "is normalized": ("lengths", {"True": "normalised", "False": "raw"}),
    "on invalid": (
        "rows that have no score",
        {"error": "stop the run", "null": "are written without one", "drop": "are left out"},
    ),
    "simd": ("instructions of the scores", {}),
    "ellipsoid simd": ("instructions of the ellipsoid", {}),
    "dtypes": ("element types", {}),
}


def worded(entry: tuple[str, str]) -> tuple[str, str]:
    """Return the name and the value of an entry as a reader would say them.

    What has no words of its own stays as it is.
    """
    name, value = entry
    called, values = ENTRIES.get(name, (name, {}))
    return called, values.get(value, f"{int(value):,}" if value.isdecimal() else value)
