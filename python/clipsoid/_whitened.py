"""The half of a whitening that takes rows: transform, inverse, likelihood, normality."""

from __future__ import annotations

import math
from operator import index
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from clipsoid._affine import Affine
from clipsoid._extras import check_stats
from clipsoid._source import OnInvalid, as_source, check_policy, check_threads
from clipsoid._spectrum import pca
from clipsoid.normality import Normality, check_options, normality_of

Array = NDArray[np.float64]
Precision = Literal["auto", "float64"]


class Whitened:
    """What `Whitening` does with rows: see there."""

    __slots__ = ()

    count: int
    mean: Array
    matrix: Array
    inverse_matrix: Array
    variances: Array
    axes: Array

    @property
    def dim(self) -> int:
        """Number of features of a row."""
        return len(self.mean)

    @property
    def rank(self) -> int:
        """Directions kept."""
        return len(self.variances)

    @property
    def log_determinant(self) -> float:
        """Sum of the logarithms of `variances`: of the pseudo-determinant if some are dropped."""
        return float(np.log(self.variances).sum())

    def transform(
        self,
        x: Any,
        *,
        out: NDArray[Any] | None = None,
        precision: Precision = "auto",
        on_invalid: OnInvalid = "error",
        n_threads: int | None = None,
    ) -> NDArray[Any]:
        """Whiten rows: ``W (x - mean)`` of each.

        Parameters
        ----------
        x : array, tensor, column, path or store of shape (n, d)
            Raw embeddings of float16, bfloat16, float32 or float64.
        out : ndarray of shape (n, k), optional
            Written to and returned; C-contiguous, for instance a ``numpy.memmap`` for more rows
            than fit into memory, which `x` may be as well.
        precision : {"auto", "float64"}, default="auto"
            What products are computed in: "auto" takes float32 for rows of 32 bits or fewer.
        on_invalid : {"error", "skip", "null"}, default="error"
            For a row that is missing, not finite or of zero norm: raise; leave it out of the
            result, not with `out`; or give NaN in its place.
        n_threads : int, optional
            Most threads to use; all that the process may use by default.

        Returns
        -------
        ndarray of shape (n, k)
            float64 for float64 rows or where that is asked for, else float32. k is the rank for
            "pca", else d.

        Raises
        ------
        InvalidRowError
            If a row is invalid and the policy is "error".
        MismatchError, DTypeError, ShapeError, StoreError
            If the rows do not fit or cannot be read, or `out` does not fit.

        Notes
        -----
        Rows are centred in float64 and multiplied in tiles; ``O(n d k)`` time. From float32
        products an entry is within ``(34 + d / 32) 2^-24 sum_l |W_il (x - mean)_l|``: the
        directions of least variance have the fewest digits.
        """
        check_policy(on_invalid)
        check_threads(n_threads)
        if out is not None and on_invalid == "skip":
            raise ValueError("on_invalid='skip' leaves rows out; with out=, take 'error' or 'null'")
        source = as_source(x)
        source.expect_dim(self.dim, "the whitening")
        return Affine(self.mean, self.matrix).images(
            source,
            float64=_is_double(precision),
            out=out,
            on_invalid=on_invalid,
            n_threads=n_threads,
        )

    def inverse(self, z: Any, *, n_threads: int | None = None) -> NDArray[Any]:
        """Rows from whitened rows.

        Parameters
        ----------
        z : array, tensor, column, path or store of shape (n, k)
            As `transform` gives them.
        n_threads : int, optional
            Most threads to use; all that the process may use by default.

        Returns
        -------
        ndarray of shape (n, d)
            float64 for float64 rows, else float32. The rows themselves, up to rounding; where
            directions are dropped, their projections onto the ones that are kept.

        Raises
        ------
        InvalidRowError
            If a row is missing or not finite.
        MismatchError, DTypeError, ShapeError, StoreError
            If the rows do not fit or cannot be read.
        """
        check_threads(n_threads)
        source = as_source(z, "z").without_policies()
        source.expect_dim(len(self.matrix), "what the whitening gives")
        centre = np.zeros(len(self.matrix))
        return Affine(centre, self.inverse_matrix, self.mean).images(
            source, float64=False, zero_is_valid=True, n_threads=n_threads
        )

    def log_likelihood(
        self,
        x: Any,
        *,
        determinant: bool = True,
        precision: Precision = "auto",
        on_invalid: OnInvalid = "error",
        n_threads: int | None = None,
    ) -> Array:
        """Log-likelihood of rows under the normal law of the ellipsoid.

        Parameters
        ----------
        x, precision, on_invalid, n_threads
            As for `transform`.
        determinant : bool, default=True
            Whether to subtract half of `log_determinant`. With it, this is the log-density of
            the embedding, in nats, and compares across ellipsoids; without, that of the whitened
            row, as in [1]_.

        Returns
        -------
        ndarray of float64 of shape (n,)
            The same for every kind.

        Raises
        ------
        InvalidRowError, MismatchError, DTypeError, ShapeError, StoreError
            As for `transform`.

        Notes
        -----
        ``-(|z|^2 + r log 2 pi) / 2`` with r the rank, from the spectrum that is used: floored,
        shrunk, or of the directions kept; what a row has outside these does not count. Whitened
        rows are not stored. For rows of length 1 it is the density of a normal law in d
        dimensions, not one on the sphere.

        References
        ----------
        .. [1] Betser, Levi & Gilboa, "Whitened CLIP as a Likelihood Surrogate of Images and
           Captions", ICML 2025.
        """
        check_policy(on_invalid)
        check_threads(n_threads)
        source = as_source(x)
        source.expect_dim(self.dim, "the whitening")
        squares = self._along_axes().squared_lengths(
            source, float64=_is_double(precision), on_invalid=on_invalid, n_threads=n_threads
        )
        return np.asarray(-0.5 * (squares + self._constant(determinant=determinant)))

    def _constant(self, *, determinant: bool = True) -> float:
        """Return what a log-density holds beside the squared length: ``r log 2 pi + log det C``."""
        return self.rank * math.log(2 * math.pi) + (self.log_determinant if determinant else 0.0)

    def _along_axes(self) -> Affine:
        """Return the map of kind "pca", the smallest; lengths are the same for all kinds."""
        return Affine(self.mean, pca(self.axes, self.variances)[0])

    def normality(
        self,
        x: Any,
        *,
        sample: int = 5000,
        seed: int = 0,
        level: float = 0.05,
        on_invalid: OnInvalid = "error",
        n_threads: int | None = None,
    ) -> Normality:
        """Test each coordinate of whitened rows against a normal law; needs the extra ``stats``.

        Parameters
        ----------
        x, n_threads
            As for `transform`.
        sample : int, default=5000
            Most rows to test, 20 or more; of more rows, a sample is drawn without replacement.
        seed : int, default=0
            Of that draw.
        level : float, default=0.05
            In (0, 1): a coordinate passes where its p-value is this or more.
        on_invalid : {"error", "skip", "null"}, default="error"
            For an invalid row that was drawn: raise, or leave it out ("skip" and "null" are the
            same here).

        Returns
        -------
        Normality

        Raises
        ------
        UnavailableError
            If scipy is not installed, or no coordinate varies.
        ShapeError
            If there are fewer than 20 rows.
        InvalidRowError, MismatchError, DTypeError, StoreError
            As for `transform`.
        ValueError
            If an option is out of range.

        Notes
        -----
        The coordinates are those that `transform` gives. Anderson-Darling with estimated mean and
        variance, and the p-values of [1]_; D'Agostino-Pearson as ``scipy.stats.normaltest``. Many
        rows tell small deviations from none: compare at equal `sample`. Of normal rows, a share
        of `level` of the coordinates fails.

        The axes of a covariance of few rows are mixtures of the true ones, and a mixture of many
        independent coordinates is nearly normal, whatever they are. With fewer than ten rows for
        each feature, ``fit_count / dim`` of the result, passing tells nothing, and with more less
        than it seems: compare whitenings at an equal number only, and of kind "pca", since "zca"
        mixes the axes itself.

        References
        ----------
        .. [1] D'Agostino & Stephens, "Goodness-of-Fit Techniques", 1986, Table 4.9.
        """
        check_policy(on_invalid)
        check_threads(n_threads)
        check_options(sample, seed, level)
        check_stats("a test of normality", "scipy")
        source = as_source(x)
        source.expect_dim(self.dim, "the whitening")
        z = Affine(self.mean, self.matrix).sampled_images(
            source, index(sample), index(seed), on_invalid=on_invalid, n_threads=n_threads
        )
        return normality_of(
            z,
            total=source.count,
            fit_count=self.count,
            dim=self.dim,
            rank=self.rank,
            seed=index(seed),
            level=float(level),
        )


def _is_double(precision: str) -> bool:
    if precision not in ("auto", "float64"):
        raise ValueError(f"precision={precision!r}; wanted 'auto' or 'float64'")
    return precision == "float64"
