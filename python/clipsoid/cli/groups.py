"""Files of groups on the command line: what they hold, saved and merged."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from clipsoid.groups import GroupedEllipsoids

#: Groups that people are shown.
SHOWN = 10


def report(groups: GroupedEllipsoids) -> dict[str, Any]:
    """Return everything small that a file of groups knows."""
    return {
        "kind": "groups",
        "groups": len(groups),
        "count": int(groups.count.sum()),
        "dim": groups.dim,
        "by": groups.by,
        **groups.invalid.to_dict(),
        "dtypes": sorted(groups.dtypes),
        "simd": sorted(groups.simd_levels),
        "encoder": groups.encoder,
        "temperature": groups.temperature,
        "inputs": len(groups.inputs),
        "labels": list(groups.labels),
        "counts": groups.count.tolist(),
    }


def describe(groups: GroupedEllipsoids) -> str:
    """Return the same for people: the largest groups, the means of all."""
    from clipsoid.cli.output import lines, number, plural

    text = {
        "groups": plural(len(groups), "value")
        + (f" of column {groups.by!r}" if groups.by is not None else ""),
        "rows": f"{int(groups.count.sum()):,} rows x {groups.dim} features",
        "elements": ", ".join(sorted(groups.dtypes)),
    }
    if groups.encoder is not None:
        text["encoder"] = groups.encoder
    if groups.invalid.total:
        left_out = {name: n for name, n in groups.invalid.to_dict().items() if n}
        text["left out"] = ", ".join(f"{n:,} {name}" for name, n in left_out.items())
    # The largest first; of two that are as large, in the order of their labels.
    largest = sorted(range(len(groups)), key=lambda at: (-int(groups.count[at]), at))[:SHOWN]
    for at in largest:
        label, count = groups.labels[at], int(groups.count[at])
        name = "(null)" if label is None else _cut(str(label))
        mean = f", mean conformity {number(groups[label].mean_conformity)}" if count > 1 else ""
        text[f"  {name}"] = plural(count, "row") + mean
    if len(groups) > SHOWN:
        text["  ..."] = f"{len(groups) - SHOWN:,} more"
    return lines(text)


def save(options: argparse.Namespace, groups: GroupedEllipsoids, **more: Any) -> None:
    """Write groups to ``--out`` and print what they hold, and `more` in the JSON."""
    from clipsoid.cli.output import show

    groups.save(options.out)
    result = {"out": options.out, **more, **report(groups)}
    show(options, result, f"{describe(groups)}\nwritten: {options.out}")


def _cut(text: str) -> str:
    return text if len(text) <= 30 else text[:29] + "…"
