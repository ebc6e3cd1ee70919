"""The whole paper on two sets: every property, figure and verdict in one result."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from operator import index
from typing import Any

from clipsoid._checks import checked_count, checked_seed
from clipsoid._gather import modalities
from clipsoid._source import check_threads
from clipsoid._sweeping import Shift, job
from clipsoid.analysis import compute, tables
from clipsoid.analysis.compute import PARTS
from clipsoid.analysis.figures import Gallery, Histogram, Sample
from clipsoid.analysis.opened import opened
from clipsoid.analysis.parts import (
    AnalysisOptions,
    Differences,
    DirectionFigures,
    FeatureHistograms,
    FeaturePlane,
    Link,
    Modality,
    Normalities,
    Retrieval,
    Similarities,
)
from clipsoid.analysis.result import Analysis
from clipsoid.analysis.verdicts import Verdict, cautions, verdicts
from clipsoid.errors import ShapeError

__all__ = [
    "PARTS",
    "Analysis",
    "AnalysisOptions",
    "Differences",
    "DirectionFigures",
    "FeatureHistograms",
    "FeaturePlane",
    "Gallery",
    "Histogram",
    "Link",
    "Modality",
    "Normalities",
    "Retrieval",
    "Sample",
    "Similarities",
    "Verdict",
    "analyze",
]


def analyze(
    image: Any,
    text: Any = None,
    *,
    temperature: float | None = None,
    shift: Shift = "image",
    alphas: Iterable[float] | None = None,
    bins: int = 50,
    leave_out: Collection[str] = (),
    captions: Sequence[str] | None = None,
    image_paths: Sequence[str] | None = None,
    sample_rows: int = 5_000,
    most_pairs: int = 20_000,
    seed: int = 0,
    n_threads: int | None = None,
    progress: Callable[[str], None] | None = None,
) -> Analysis:
    """Compute every property, figure and verdict of the paper on two modalities.

    Parameters
    ----------
    image, text : array, tensor, column, path or store of shape (n, d)
        Paired rows, two or more (``"normality"`` wants 20); raw embeddings, if they can be had: of
        normalised ones some figures describe the sphere. Without `text`, `image` is an
        `EmbeddingSet` that holds both, or its path; a sample of its pairs is then looked at.
    temperature : float, optional
        That of the model; by default what the set says, or 0.01.
    shift : {"image", "text", "both"}, default="image"
        The modality whose centre moves in both sweeps.
    alphas : iterable of float, optional
        Of both sweeps; by default 41 from -1 to 1.
    bins : int, default=50
        Of every histogram.
    leave_out : collection of str
        Parts to leave out, of ``clipsoid.analysis.PARTS``. ``"linear_separability"`` and
        ``"normality"`` take longest, and need the extra ``stats``.
    captions, image_paths : sequence of str of length n, optional
        Those of the rows that galleries and samples name travel along; by default those of the
        set, from its metadata.
    sample_rows : int, default=5_000
        Most rows whose own figures are kept, to be drawn.
    most_pairs : int, default=20_000
        Most pairs for what compares all with all: the loss, retrieval, histograms of all cosines.
        Of more, a sample is compared.
    seed : int, default=0
        Of samples and of cross-validation.
    n_threads : int, optional
        Most threads to use; all that the process may use by default. The support vector machines
        of ``"linear_separability"`` take 30 bytes for each of their elements and run together only
        as far as 200 MB go: one by one at 5,000 pairs of 512 features.
    progress : callable, optional
        Called with the name of each part before it is computed; ``"modalities"`` is the first.

    Returns
    -------
    Analysis

    Raises
    ------
    ShapeError, MismatchError
        If the sets do not pair up, or there are not as many captions or paths as rows.
    StoreError
        If a set lacks a modality.
    ValueError
        If an option is out of range, `leave_out` names no part, or `text` is missing.
    InvalidRowError
        If a row is missing, not finite or of zero norm.
    UnavailableError
        If a part needs the extra ``stats``.

    Warns
    -----
    PairingWarning
        If the images and texts of a set are no nearer than by chance.

    Notes
    -----
    Two passes over the rows of each modality, and one or two more for each part that is linear in
    them; for what needs all pairs ``O(p^2 d)`` time with `p` pairs, which are read once. Memory:
    ``O(n + d^2)`` beside ``O(p)`` rows. The verdicts are rules of this library, named in each; the
    paper states its properties in words. Results do not depend on `n_threads`; the axes, and what
    is whitened by them, come from numpy's LAPACK and are the same to the last bit only for the same
    LAPACK and number of its threads (``OPENBLAS_NUM_THREADS`` and the like).

    References
    ----------
    .. [1] Levi & Gilboa, "The Double-Ellipsoid Geometry of CLIP", ICML 2025, arXiv 2411.14517.

    Examples
    --------
    >>> import clipsoid as cs
    >>> image, text, _ = cs.double_ellipsoid(600, seed=0)
    >>> found = cs.analyze(image, text, leave_out=["linear_separability", "normality"])
    >>> found.verdicts[5].name, found.verdicts[5].holds
    ('least loss near the given centre', True)
    >>> cs.Analysis.from_json(found.to_json()).image.count
    600
    """
    check_threads(n_threads)
    left_out = _checked_parts(leave_out)
    image, text, temperature, captions, image_paths = opened(
        image, text, temperature, captions, image_paths
    )
    images, texts = modalities(image, text)
    asked = job(images, texts, alphas, shift, temperature, "fixed")
    if checked_count("most_pairs", most_pairs) < 2:
        raise ValueError(f"most_pairs={most_pairs}; wanted 2 or more")
    seed = checked_seed(seed)
    options = AnalysisOptions(
        temperature=asked.temperature,
        shift=shift,
        alphas=asked.alphas,
        bins=checked_count("bins", bins),
        left_out=left_out,
        sample_rows=checked_count("sample_rows", sample_rows),
        most_pairs=index(most_pairs),
        seed=seed,
    )
    compute.check_parts(options, images.count, images.dim)
    for name, values in (("captions", captions), ("image_paths", image_paths)):
        if values is None:
            continue
        if isinstance(values, (str, bytes)) or not hasattr(values, "__len__"):
            raise ValueError(f"{name}={values!r}; wanted one text for each row")
        if len(values) != images.count:
            raise ShapeError(
                f"{name}: found {len(values)}, wanted one for each of {images.count} rows"
            )
    parts = compute.parts(images, texts, options, n_threads, progress or (lambda name: None))
    found = Analysis(options, **parts)
    return replace(
        found,
        verdicts=verdicts(found),
        warnings=tuple(cautions(found)),
        items=tables.items(found, captions, image_paths),
    )


def _checked_parts(leave_out: Collection[str]) -> tuple[str, ...]:
    """Return the parts to leave out, in the order of `PARTS`."""
    if isinstance(leave_out, str) or not isinstance(leave_out, Iterable):
        raise ValueError(f"leave_out={leave_out!r}; wanted a list of parts: {', '.join(PARTS)}")
    names = set(leave_out)
    unknown = names - set(PARTS)
    if unknown:
        raise ValueError(f"leave_out: {min(unknown)!r} is no part; parts: {', '.join(PARTS)}")
    return tuple(name for name in PARTS if name in names)
