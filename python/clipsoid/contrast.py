"""The contrastive loss of paired rows, and how it changes as the centre of a modality moves."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clipsoid._part import check_part
from clipsoid._shown import Drawn
from clipsoid._source import Progress
from clipsoid._sweeping import Partition, Shift, compute, job
from clipsoid.results import Made
from clipsoid.sweep import LossSweep, LossSweepPart

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ContrastiveLoss(Made, Drawn):
    """The symmetric contrastive loss of a set of pairs (Eq. 7 and 8).

    Attributes
    ----------
    loss : float
        Mean of the two directions, in nats; the sum of alignment and uniformity.
    loss_image_to_text, loss_text_to_image : float
        Mean cross-entropy of each image among all texts, and of each text among all images.
    alignment : float
        Minus the mean logit of a pair.
    uniformity : float
        Mean of the log-sum-exp over rows and columns of the logits.
    accuracy_image_to_text, accuracy_text_to_image : float
        Share of rows to which no other candidate is as near as their partner, or nearer.
    count : int
        Pairs.
    temperature : float
    per_pair_image_to_text, per_pair_text_to_image : ndarray of float64 of shape (n,), or None
        Each pair's own loss in either direction, where it was asked for.
    simd_level : str
        Instruction set; bits may differ between two.
    version : str
        Version of clipsoid.
    """

    loss: float
    loss_image_to_text: float
    loss_text_to_image: float
    alignment: float
    uniformity: float
    accuracy_image_to_text: float
    accuracy_text_to_image: float
    count: int
    temperature: float
    per_pair_image_to_text: Array | None = None
    per_pair_text_to_image: Array | None = None

    @property
    def per_pair(self) -> Array | None:
        """Each pair's own loss, the mean of its two directions."""
        if self.per_pair_image_to_text is None or self.per_pair_text_to_image is None:
            return None
        return np.asarray((self.per_pair_image_to_text + self.per_pair_text_to_image) / 2)

    def __repr__(self) -> str:
        return (
            f"ContrastiveLoss(loss={self.loss:.6g}, alignment={self.alignment:.6g}, "
            f"uniformity={self.uniformity:.6g}, count={self.count}, "
            f"temperature={self.temperature:g})"
        )


def contrastive_loss(
    image: Any,
    text: Any,
    *,
    temperature: float | None = None,
    per_pair: bool = False,
    n_threads: int | None = None,
) -> ContrastiveLoss:
    """Contrastive loss of all pairs as one batch.

    Parameters
    ----------
    image, text : array, tensor, column, path or store of shape (n, d)
        Paired rows, two or more; they need not be normalised. Rows that lie in several chunks or
        files are gathered into one array.
    temperature : float, optional
        That of the model, 0.003 or more. By default that of the manifest beside the files, as
        `clipsoid embed` writes it, or 0.01 where there is none.
    per_pair : bool, default=False
        Whether to keep each pair's own loss.
    n_threads : int, optional
        Most threads to use; all that the process may use by default.

    Returns
    -------
    ContrastiveLoss

    Raises
    ------
    ShapeError
        If there are not as many texts as images, or fewer than two pairs.
    MismatchError
        If the two differ in dimension, or in the model that their manifests name.
    InvalidRowError
        If a row is missing, not finite or of zero norm.
    ValueError
        If the temperature is out of range.

    Warns
    -----
    LossWarning
        If the manifest says that the model was trained with another loss, a sigmoid's.

    See Also
    --------
    loss_sweep : The same while the centre of a modality moves.

    Notes
    -----
    Eq. 7 and 8 of [1]_, the loss that CLIP is trained by: with
    ``L_jk = cos(t_j, v_k) / temperature`` the mean of ``log sum_k exp(L_jk) - L_jj`` and of the
    same over columns, halved and added. A pair's loss is
    ``log(1 + sum of its rivals relative to it)``, so that small ones keep their digits.
    ``O(n^2 d)`` time, ``O(n)`` memory and 3 MB per thread; nothing of size n x n is stored.
    Cosines are float32 sums from rows narrower than float64 (a pair's loss is then within 1e-4),
    float64 otherwise.

    References
    ----------
    .. [1] Levi & Gilboa, "The Double-Ellipsoid Geometry of CLIP", ICML 2025, arXiv 2411.14517.

    Examples
    --------
    >>> import clipsoid as cs
    >>> image, text, _ = cs.double_ellipsoid(1000, seed=0)
    >>> found = cs.contrastive_loss(image, text)
    >>> found.count
    1000
    >>> bool(abs(found.alignment + found.uniformity - found.loss) < 1e-9)
    True
    """
    what = job(image, text, [0.0], "image", temperature, "fixed")
    part = compute(what, n_threads=n_threads)
    pairs = part.pairs(0)
    to_text, to_image = float(pairs.to_text.mean()), float(pairs.to_image.mean())
    loss, alignment = (to_text + to_image) / 2, -float(pairs.logit.mean())
    return ContrastiveLoss(
        loss=loss,
        loss_image_to_text=to_text,
        loss_text_to_image=to_image,
        alignment=alignment,
        uniformity=loss - alignment,
        accuracy_image_to_text=float(pairs.hits_text.mean()),
        accuracy_text_to_image=float(pairs.hits_image.mean()),
        count=part.options.count,
        temperature=part.options.temperature,
        per_pair_image_to_text=pairs.to_text if per_pair else None,
        per_pair_text_to_image=pairs.to_image if per_pair else None,
    )


def loss_sweep(
    image: Any,
    text: Any,
    *,
    alphas: Iterable[float] | None = None,
    shift: Shift = "image",
    temperature: float | None = None,
    partition: Partition = "fixed",
    n_threads: int | None = None,
    progress: Progress | None = None,
) -> LossSweep:
    """Contrastive loss while the centre of a modality moves (Eq. 9 and Figure 6).

    Parameters
    ----------
    image, text, temperature, n_threads
        As for `contrastive_loss`.
    alphas : iterable of float, optional
        Multiples of the mean that are taken from the rows: 0 leaves them where they are, 1 centres
        them. By default 41 from -1 to 1.
    shift : {"image", "text", "both"}, default="image"
        The modality that moves.
    partition : {"fixed", "each"}, default="fixed"
        Which pairs count as correct: those whose image finds its text at alpha = 0, the same pairs
        at every alpha; or those that do at each alpha.
    progress : callable, optional
        Called with a number of rows whenever that many are done.

    Returns
    -------
    LossSweep

    Raises
    ------
    ShapeError, MismatchError, ValueError
        As for `contrastive_loss`; also where there is no alpha, or one that is not finite.
    InvalidRowError
        Also for a row that vanishes: it is `alpha` times the mean, to rounding; and for one whose
        move leaves the range of float64.

    Notes
    -----
    A row `v` becomes ``v - alpha m``, with `m` the raw mean of its modality, and is normalised
    again. All alphas are made of one product of the rows, tile by tile, at one exponential per
    entry and alpha that serves both directions: ``O(n^2 (d + a))`` time and 50 to 80 bytes of
    memory per pair and alpha, for `a` alphas. Rounding grows as rows shrink; an alpha at which it
    would grow threefold (less, beyond 512 features) has a product of its own, of rows that are
    moved first. So a pair's loss is within 1e-4 from rows narrower than float64, within 1e-10 from
    float64, at a temperature of 0.01; where next to nothing is left of a row, the rounding of the
    mean, ``alpha rms|x| / |x - alpha m|`` times that of float64, comes on top.

    Examples
    --------
    >>> import clipsoid as cs
    >>> image, text, _ = cs.double_ellipsoid(1000, seed=0)
    >>> sweep = cs.loss_sweep(image, text, alphas=[-0.5, 0, 0.5])
    >>> sweep.table.columns[:4]
    ['alpha', 'alignment', 'uniformity', 'loss']
    >>> sweep.best_alpha
    0.0
    """
    what = job(image, text, alphas, shift, temperature, partition)
    return compute(what, n_threads=n_threads, progress=progress).result()


def loss_sweep_part(
    image: Any,
    text: Any,
    i: int,
    n: int,
    *,
    alphas: Iterable[float] | None = None,
    shift: Shift = "image",
    temperature: float | None = None,
    partition: Partition = "fixed",
    n_threads: int | None = None,
    progress: Progress | None = None,
) -> LossSweepPart:
    """Part `i` of `n` of a `loss_sweep`, to be merged with the others.

    The parts of one sweep can be computed in any processes, on any machines, that have the rows.

    Parameters
    ----------
    image, text, alphas, shift, temperature, partition, n_threads, progress
        As for `loss_sweep`.
    i : int
        Which part, counted from 0.
    n : int
        How many there are. Work is cut between blocks of 256 rows: of more parts than blocks, some
        are empty.

    Returns
    -------
    LossSweepPart
        It can be pickled: about ``26 n a`` bytes for `n` pairs and `a` alphas.

    Examples
    --------
    >>> import clipsoid as cs
    >>> image, text, _ = cs.double_ellipsoid(600, seed=0)
    >>> first, second = (cs.loss_sweep_part(image, text, i, 2, alphas=[0.0, 0.5]) for i in (0, 1))
    >>> first.merge(second).result().best_alpha
    0.0
    """
    part = check_part(i, n)
    what = job(image, text, alphas, shift, temperature, partition)
    return compute(what, part=part, n_threads=n_threads, progress=progress)
