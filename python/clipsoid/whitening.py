"""Whitening of a modality, and how likely rows are under its normal law."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from clipsoid._shown import Drawn
from clipsoid._source import check_threads
from clipsoid._spectrum import Kind, checked_method, matrices, spectrum_of
from clipsoid._whitened import Whitened
from clipsoid.ellipsoid import Ellipsoid

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Whitening(Drawn, Whitened):
    """A linear map that gives the rows of an ellipsoid unit covariance, and what it was made of.

    Made by `from_ellipsoid`. It can be pickled, and written to a file.

    Attributes
    ----------
    kind : {"zca", "pca", "cholesky"}
    mean : ndarray of float64 of shape (d,)
        Centre of the ellipsoid.
    matrix : ndarray of float64 of shape (k, d)
        `W`: a row x becomes ``W (x - mean)``. k is the rank for "pca", else d.
    inverse_matrix : ndarray of float64 of shape (d, k)
        Its inverse, or its pseudo-inverse where directions are dropped.
    eigenvalues : ndarray of float64 of shape (d,)
        Of the covariance as it was found, descending; rounding can make the least negative.
    variances : ndarray of float64 of shape (rank,)
        Those that are used, descending: kept, floored or shrunk.
    axes : ndarray of float64 of shape (d, rank)
        Their eigenvectors, in columns; the entry of greatest magnitude of each is positive.
    count : int
        Rows of the ellipsoid.
    floor : float or None
        Share of the greatest eigenvalue that smaller ones were raised to.
    floored : int
        How many were.
    shrinkage : float or None
        Weight of ``(tr C / d) I`` in the covariance that is used.
    ledoit_wolf : bool
        Whether that weight was estimated.
    tolerance : float
        Eigenvalues up to this share of the greatest are rounding: ``d 2^-52``.
    noise : float
        1e-6 where the covariance was made of float32 products, else 0: eigenvalues up to
        this share of ``v^T diag(C) v``, with v the axis, are what rounding leaves of those.
    is_normalized : bool
        Whether the rows of the ellipsoid had length 1: it is then the sphere that is whitened.
    encoder : str or None
        Of the ellipsoid.

    References
    ----------
    .. [1] Kessy, Lewin & Strimmer, "Optimal Whitening and Decorrelation", The American
       Statistician, 2018.
    .. [2] Betser, Levi & Gilboa, ICML 2025.

    Examples
    --------
    >>> import numpy as np, clipsoid as cs
    >>> image, text, _ = cs.double_ellipsoid(2000, seed=0)
    >>> w = cs.Whitening.from_ellipsoid(cs.Ellipsoid.fit(image))
    >>> z = w.transform(image)
    >>> bool(np.abs(np.cov(z.T) - np.eye(512)).max() < 1e-3)
    True
    >>> bool(w.log_likelihood(image).mean() > w.log_likelihood(text).mean())
    True
    """

    kind: Kind
    mean: Array
    matrix: Array
    inverse_matrix: Array
    eigenvalues: Array
    variances: Array
    axes: Array
    count: int
    floor: float | None
    floored: int
    shrinkage: float | None
    ledoit_wolf: bool
    tolerance: float
    noise: float
    is_normalized: bool
    encoder: str | None

    def __post_init__(self) -> None:
        for name in ARRAYS:
            getattr(self, name).setflags(write=False)

    @classmethod
    def from_ellipsoid(
        cls,
        e: Ellipsoid,
        *,
        kind: Kind = "zca",
        floor: float | None = None,
        shrinkage: float | Literal["ledoit-wolf"] | None = None,
        rank: int | None = None,
        rows: Any = None,
        n_threads: int | None = None,
    ) -> Self:
        """Whiten by the covariance of an ellipsoid.

        Parameters
        ----------
        e : Ellipsoid
            With covariance, of two rows or more.
        kind : {"zca", "pca", "cholesky"}, default="zca"
            ``C^-1/2``, which stays closest to the rows; ``L^-1/2 U^T``, the coordinates along the
            axes, the widest first; or the transpose of the lower Cholesky factor of ``C^-1``,
            which is upper triangular.
        floor : float, optional
            In (0, 1]: eigenvalues below this share of the greatest are raised to it.
        shrinkage : float or "ledoit-wolf", optional
            In [0, 1]: the covariance becomes ``(1 - s) C + s (tr C / d) I``. "ledoit-wolf"
            estimates the best s, and reads `rows`, once more, for it.
        rank : int, optional
            Keep this many directions, the widest. At most one of ``floor``, ``shrinkage`` and
            ``rank`` can be given.
        rows : array, tensor, column, path or store of shape (n, d), optional
            The rows that the ellipsoid was fitted on; for "ledoit-wolf" only.
        n_threads : int, optional
            Most threads to use for `rows`; all that the process may use by default.

        Returns
        -------
        Whitening

        Raises
        ------
        UnavailableError
            If the ellipsoid has no covariance or does not vary, if it has fewer directions than
            ``rank``, or fewer than "cholesky" needs.
        MismatchError
            If `rows` are others than those of the ellipsoid.
        ValueError
            If an option is out of range, or does not go with another.

        Notes
        -----
        Eigenvalues in float64, by numpy's LAPACK; ``O(d^3)`` time. In their last bits, axes may
        depend on how many threads LAPACK takes, which the environment says
        (``OPENBLAS_NUM_THREADS`` and the like) and `n_threads` does not. Without ``floor`` and
        ``shrinkage``, the eigenvalues that are rounding are dropped: see ``tolerance`` and
        ``noise``; also those up to ten times the most negative one, and those beyond
        ``count - 1``, of which a covariance has no more. No noise is ever added. float32 products
        cannot tell the least directions of embeddings from their rounding: an ellipsoid fitted
        with ``precision="float64"`` can.
        Shrinkage is that of [1]_, computed from fourth powers of the distances from the mean;
        with ddof 1 here, the covariance is ``n / (n - 1)`` times theirs.

        References
        ----------
        .. [1] Ledoit & Wolf, "A well-conditioned estimator for large-dimensional covariance
           matrices", Journal of Multivariate Analysis, 2004.
        """
        if not isinstance(e, Ellipsoid):
            raise TypeError(f"e: found {type(e).__qualname__}; wanted an Ellipsoid")
        check_threads(n_threads)
        floor, shrinkage, rank = checked_method(kind, floor, shrinkage, rank, rows, e.dim)
        spectrum = spectrum_of(
            e, floor=floor, shrinkage=shrinkage, rank=rank, rows=rows, n_threads=n_threads
        )
        matrix, inverse_matrix = matrices(kind, spectrum)
        return cls(
            kind=kind,
            mean=e.mean,
            matrix=matrix,
            inverse_matrix=inverse_matrix,
            eigenvalues=spectrum.eigenvalues,
            variances=spectrum.variances,
            axes=spectrum.axes,
            count=e.count,
            floor=floor,
            floored=spectrum.floored,
            shrinkage=None if spectrum.shrinkage is None else float(spectrum.shrinkage),
            ledoit_wolf=shrinkage == "ledoit-wolf",
            tolerance=spectrum.tolerance,
            noise=spectrum.noise,
            is_normalized=e.is_normalized,
            encoder=e.encoder,
        )

    @property
    def dropped(self) -> int:
        """Directions left out: their eigenvalues are rounding, or beyond the rank asked for."""
        return self.dim - self.rank

    @property
    def condition(self) -> float:
        """The greatest over the least of ``variances``."""
        return float(self.variances[0] / self.variances[-1])

    def to_dict(self) -> dict[str, Any]:
        """Return what was done by name, without the arrays."""
        derived = ("dim", "rank", "dropped", "condition", "log_determinant")
        return {name: getattr(self, name) for name in (*SCALARS, *derived)}

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write to a file: safetensors, with a JSON header. Complete or not there at all.

        Raises
        ------
        OutputError
            If the file cannot be written.
        """
        from clipsoid._whitening_file import write_whitening

        write_whitening(self, path)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read from a file that `save` wrote. Nothing is unpickled.

        Raises
        ------
        StoreError
            If the file is missing, damaged or no whitening.
        """
        from clipsoid._whitening_file import read_whitening

        return read_whitening(cls, path)

    def __reduce__(self) -> tuple[Any, ...]:
        from clipsoid._whitening_file import from_bytes, to_bytes

        return from_bytes, (type(self), to_bytes(self))

    def __repr__(self) -> str:
        parts = [self.kind, f"dim={self.dim}", f"rank={self.rank}", f"count={self.count}"]
        parts.append(f"condition={self.condition:.3g}")
        if self.floor is not None:
            parts.append(f"floor={self.floor:g} raised {self.floored}")
        if self.shrinkage is not None:
            by = " by Ledoit-Wolf" if self.ledoit_wolf else ""
            parts.append(f"shrinkage={self.shrinkage:.3g}{by}")
        if self.dropped:
            parts.append(f"dropped {self.dropped}")
        noise = f" and float32 noise {self.noise:g}" if self.noise else ""
        parts.append(f"tolerance={self.tolerance:.2g}{noise}")
        parts.append("normalized" if self.is_normalized else "raw")
        if self.encoder is not None:
            parts.append(f"encoder={self.encoder!r}")
        return f"Whitening({', '.join(parts)})"


#: Fields, as they stand in a file.
ARRAYS = ("mean", "matrix", "inverse_matrix", "eigenvalues", "variances", "axes")
SCALARS = tuple(name for name in Whitening.__dataclass_fields__ if name not in ARRAYS)
