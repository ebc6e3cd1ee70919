"""Why an average off the origin is near everything: Figure 7."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from clipsoid.report import theme
from clipsoid.report.figure import Figure, Measure, Panel
from clipsoid.report.marks import distributions, histogram_frame, number, rule, titled

if TYPE_CHECKING:
    from clipsoid.blur import BlurExperiment

#: Neither sphere is a modality.
COLOUR = {"centred": theme.GREEN, "shifted": theme.PURPLE}


def blur_figure(blur: BlurExperiment) -> Figure:
    """Return the cosines to the mean and to the least similar row, of both spheres (Figure 7)."""
    from clipsoid.analysis.figures import Histogram

    samples = {"centred": blur.centered, "shifted": blur.shifted}
    parts = [
        (key, sphere, getattr(sample, f"{key}_counts"), getattr(sample, key))
        for sphere, sample in samples.items()
        for key in ("to_mean", "to_far")
    ]
    top = 1.05 * max(counts.max() / counts.sum() for _, _, counts, _ in parts)
    # One axis for all four: what the shift does is to move them along it.
    ends = (min(0.0, float(blur.edges[0])), max(1.0, float(blur.edges[-1])))
    panels = []
    for key, sphere, counts, cosines in parts:
        frame = histogram_frame({sphere: Histogram(blur.edges, counts)})
        what, short = {
            "to_mean": ("the mean", "the mean"),
            "to_far": ("the row least similar to the mean", "the least similar row"),
        }[key]
        style = {sphere: (COLOUR[sphere], theme.SOLID)}
        mean = float(cosines.mean())
        chart = distributions(
            frame,
            f"cosine to {what}",
            style,
            ends=ends,
            top=top,
            rules=[rule(mean, "mean of the cosines")],
        )
        panels.append(
            Panel(
                f"{sphere}-{key.replace('_', '-')}",
                titled(
                    chart,
                    f"{sphere.capitalize()}: to {short}",
                    f"mean {number(mean, 3)}, least {number(float(cosines.min()), 3)}",
                ),
                frame,
                f"Histogram of the cosines of {len(cosines):,} rows of the {sphere} sphere to "
                f"{what}: from {number(float(cosines.min()), 3)} to "
                f"{number(float(cosines.max()), 3)}, mean {number(mean, 3)}.",
                150,
            )
        )
    measures = [
        Measure(f"{name} cosine to {what}, {sphere}", number(float(of(cosines)), 3))
        for key, what in (("to_mean", "the mean"), ("to_far", "the least similar row"))
        for name, of in (("mean", np.mean), ("least", np.min))
        for sphere, sample in samples.items()
        for cosines in [getattr(sample, key)]
    ]
    rows, dim = len(blur.centered.to_mean), len(blur.centered.center)
    moved = blur.shifted.center[: np.flatnonzero(blur.shifted.center).max(initial=0) + 1]
    centre = ", ".join(f"{x:g}" for x in moved)
    return Figure(
        "blur",
        "Figure 7",
        "A mean that is near everything",
        f"{rows:,} random vectors of {dim} features, around the origin and then around "
        f"({centre}, 0, ...). Around the origin no vector is near all others: cosines are small, "
        "even to the mean. Off it the mean is near everything, every cosine to it being "
        f"{number(float(blur.shifted.to_mean.min()), 2)} or more: a place for what is generic, or "
        "blurred. Even the row least similar to the mean is then nearer to the others.",
        tuple(panels),
        tuple(measures),
        "simulated: the same for every set of embeddings",
    )
