"""Ellipsoid: everything that one modality is, fitted in one pass, mergeable, in one file."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from clipsoid import _native
from clipsoid._accumulator import Accumulator, counted
from clipsoid._scoring import Reference, conformity_batches, gather, joined, score_batches
from clipsoid._source import OnInvalid, Source, as_source, check_policy, check_threads
from clipsoid.errors import InvalidRowError, ShapeError, UnavailableError
from clipsoid.results import Calibration, Norms, Scores, Shell

Array = NDArray[np.float64]

#: Norms within 1 +- this are those of normalised rows: half precision gives 0.9995 to 1.0005.
NORMALIZED_WITHIN = 0.01


class Ellipsoid(Accumulator):
    """The ellipsoid of a set of embeddings: its centre, its shape, and what rows are against it.

    An ellipsoid is an accumulator: `update` adds rows, `merge` adds another ellipsoid, and every
    property is that of the rows seen so far. Any way of cutting the same rows into batches, and
    any number of threads, gives the same bits.

    Parameters
    ----------
    dim : int
        Number of features of a row.
    covariance : bool, default=True
        Whether to keep the covariance matrix. Without it a fit runs at the speed of memory.
    precision : {"auto", "float64"}, default="auto"
        What products of the covariance are computed in: "auto" takes float32 for rows of 32 bits
        or fewer (error below 1e-6 of ``sqrt(C_ii C_jj)``) and float64 for float64 rows;
        "float64" takes float64 always, at half the speed. Everything else is float64 in any case.
    encoder : str, optional
        Name of the model that made the embeddings; kept in the file, and compared where
        ellipsoids or rows meet.
    temperature : float, optional
        Temperature of that model's contrastive loss; kept in the file.

    Notes
    -----
    `m` is the raw mean, `s` the mean of the rows scaled to unit length, `sigma` the standard
    deviation of each feature. Fitting takes ``O(N d)`` time and ``O(d)`` memory, ``O(N d^2)``
    and ``O(d^2)`` with covariance. Arrays must not be written to by another thread meanwhile.

    References
    ----------
    .. [1] Levi & Gilboa, "The Double-Ellipsoid Geometry of CLIP", ICML 2025, arXiv 2411.14517.

    Examples
    --------
    >>> import clipsoid as cs
    >>> image, text, _ = cs.double_ellipsoid(1000, seed=0)
    >>> e = cs.Ellipsoid.fit(image)
    >>> e.count, e.dim
    (1000, 512)
    >>> scores = e.conformity(image, member=True)
    >>> scores.shape
    (1000,)
    >>> bool(abs(scores.mean() - e.mean_conformity) < 1e-12)
    True
    """

    def _need_squares(self, what: str) -> None:
        greatest = self._state["norm_max"]
        if not _squares_are_safe(greatest):
            raise UnavailableError(
                f"{what} cannot be had: norms reach {greatest:.3g}, and squares of such numbers "
                "leave the range of float64; scale the rows"
            )

    @property
    def mean(self) -> Array:
        """Raw mean `m`, shape (d,): the centre of the ellipsoid."""
        self._need(1, "the mean")
        return self._state["mean"].copy()

    @property
    def unit_mean(self) -> Array:
        """Unit mean `s`, shape (d,): the mean of ``x_j / |x_j|``, of length 0 to 1."""
        self._need(1, "the unit mean")
        return np.asarray(self._state["unit_sum"] / self.count)

    @property
    def std(self) -> Array:
        """Standard deviation of each feature, shape (d,), ddof 0."""
        self._need(1, "the standard deviation")
        self._need_squares("the standard deviation")
        return np.sqrt(self._state["squares"] / self.count)

    @property
    def norms(self) -> Norms:
        """Statistics of the norms ``|x_j|``; variance with ddof 0.

        The variance is NaN where squares of the norms leave the range of float64.
        """
        self._need(1, "the norms")
        s = self._state
        safe = _squares_are_safe(s["norm_max"])
        variance = s["norm_squares"] / self.count if safe else math.nan
        return Norms(s["norm_mean"], variance, s["norm_min"], s["norm_max"])

    @property
    def covariance(self) -> Array:
        """Covariance matrix, shape (d, d), ddof 1."""
        self._need(2, "the covariance")
        self._need_squares("the covariance")
        with self._lock:
            scatter = self._moments.scatter()
        if scatter is None:
            reason = (
                "it was dropped by a merge with an ellipsoid that has none"
                if "covariance" in self._dropped
                else "it was fitted with covariance=False"
            )
            raise UnavailableError(f"this ellipsoid has no covariance: {reason}")
        return np.asarray(scatter.reshape(self.dim, self.dim) / (self.count - 1))

    @property
    def center_ratio(self) -> float:
        """Distance of the centre from the origin over the radius, ``|m| / |sigma|``.

        The paper finds 0.94 for images and 1.03 for texts. Infinite when no feature varies.
        """
        radius = float(np.linalg.norm(self.std))
        distance = float(np.linalg.norm(self.mean))
        return distance / radius if radius > 0 else math.inf

    @property
    def mean_conformity(self) -> float:
        """Mean of the exact conformity over the set, ``(N |s|^2 - 1) / (N - 1)``."""
        self._need(2, "the mean conformity")
        n, s = self.count, self.unit_mean
        return float((n * (s @ s) - 1) / (n - 1))

    @property
    def is_normalized(self) -> bool:
        """Whether every norm lies within 1 +- 0.01.

        Conformity stands for such rows; shell, centre ratio and tilt then describe the sphere.
        """
        norms = self.norms
        return norms.min >= 1 - NORMALIZED_WITHIN and norms.max <= 1 + NORMALIZED_WITHIN

    @property
    def off_diagonal_dominance(self) -> Array:
        """``sum over k != l of |C_lk| / C_ll`` of each feature (Eq. 6), shape (d,).

        NaN for a feature that does not vary. Untilted features reach
        `off_diagonal_dominance_null` in a finite sample; compare with that.
        """
        return self._dominance_and_null[0].copy()

    @property
    def off_diagonal_dominance_null(self) -> Array:
        """Off-diagonal dominance that independent features would show at this count, shape (d,).

        ``sqrt(2 / (pi N)) (sum_k sigma_k - sigma_l) / sigma_l``.
        """
        return self._dominance_and_null[1].copy()

    @property
    def _dominance_and_null(self) -> tuple[Array, Array]:
        # Both come out of one walk over a covariance made for it: kept for whoever asks for both.
        with self._lock:
            if self._dominance is None:
                self._dominance = _native.off_diagonal_dominance(self.covariance, self.count)
            return self._dominance

    # ------------------------------------------------------------ rows against it

    def reference(self, *, member: bool) -> Reference:
        """Return what rows are scored against, as the scoring loop takes it."""
        self._need(2 if member else 1, "conformity")
        return Reference(self.count, self.mean, self.unit_mean, member)

    def _against(
        self, x: Any, member: bool, on_invalid: OnInvalid, n_threads: int | None
    ) -> tuple[Source, Reference]:
        check_policy(on_invalid)
        check_threads(n_threads)
        source = as_source(x)
        source.expect_dim(self.dim, "the ellipsoid")
        return source, self.reference(member=member)

    def _score(
        self, x: Any, member: bool, on_invalid: OnInvalid, n_threads: int | None
    ) -> Iterator[Scores]:
        source, reference = self._against(x, member, on_invalid, n_threads)
        return score_batches(source, reference, on_invalid=on_invalid, n_threads=n_threads)

    def score(
        self,
        x: Any,
        *,
        member: bool = False,
        on_invalid: OnInvalid = "error",
        n_threads: int | None = None,
    ) -> Scores:
        """Conformity, cosine to the mean and norm of rows, in one pass over them.

        Parameters
        ----------
        x, member, on_invalid, n_threads
            As for `conformity`.

        Returns
        -------
        Scores
            One entry per row, but for the rows that "skip" leaves out: `row` says which remain.
        """
        return joined(list(self._score(x, member, on_invalid, n_threads)))

    def conformity(
        self,
        x: Any,
        *,
        member: bool = False,
        on_invalid: OnInvalid = "error",
        n_threads: int | None = None,
    ) -> Array:
        """Exact conformity of rows: their mean cosine to the rows of this set.

        Parameters
        ----------
        x : array, tensor, column, path or store of shape (n, d)
            Rows to score; they need not be normalised.
        member : bool, default=False
            Whether the rows belong to the fitted set: each is then left out of its own mean.
            This cannot be detected from the rows.
        on_invalid : {"error", "skip", "null"}, default="error"
            For a row that is missing, not finite or of zero norm: raise; leave it out of the
            result; or give NaN in its place.
        n_threads : int, optional
            Most threads to use.

        Returns
        -------
        ndarray of float64 of shape (n,)
            In [-1, 1]; high for common items, low for rare ones.

        Notes
        -----
        Definition 1 and Eq. 10 of [1]_, in linear form: ``s.u`` for outsiders,
        ``(N s.u - 1) / (N - 1)`` for members, in float64 throughout; ``O(n d)`` time.

        References
        ----------
        .. [1] Levi & Gilboa, ICML 2025.

        Examples
        --------
        >>> import numpy as np, clipsoid as cs
        >>> x = np.array([[1.0, 0.0], [0.0, 2.0], [3.0, 4.0]])
        >>> cs.Ellipsoid.fit(x).conformity(x, member=True).round(6).tolist()
        [0.3, 0.4, 0.7]
        """
        source, reference = self._against(x, member, on_invalid, n_threads)
        return gather(
            conformity_batches(source, reference, on_invalid=on_invalid, n_threads=n_threads)
        )

    def cosine_to_mean(
        self, x: Any, *, on_invalid: OnInvalid = "error", n_threads: int | None = None
    ) -> Array:
        """Cosine of each row to the raw mean, ``cos(m, x)``, shape (n,), in [-1, 1].

        Parameters
        ----------
        x, on_invalid, n_threads
            As for `conformity`.
        """
        return gather(p.cosine_to_mean for p in self._score(x, False, on_invalid, n_threads))

    def calibrate(
        self,
        x: Any,
        *,
        member: bool = True,
        on_invalid: OnInvalid = "error",
        n_threads: int | None = None,
    ) -> Calibration:
        """Regress conformity on the cosine to the mean, and the reverse, over rows.

        Parameters
        ----------
        x, on_invalid, n_threads
            As for `conformity`.
        member : bool, default=True
            Whether the rows belong to the fitted set.

        Returns
        -------
        Calibration
            Also kept in this ellipsoid and its file; void after `update` or `merge`.

        Raises
        ------
        UnavailableError
            If conformity or cosine does not vary over the rows.

        Notes
        -----
        Definition 2 and Eq. 11 of [1]_: ``c ~ a cos(m, x) + b``. The slope is about ``|s|``, below
        1; the paper prints a = 1.461 (image) and 1.411 (text), which are inverse slopes.

        References
        ----------
        .. [1] Levi & Gilboa, ICML 2025.
        """
        regression = _native.Regression()
        for part in self._score(x, member, on_invalid, n_threads):
            regression.update(part.cosine_to_mean, part.conformity)
        count, slope, intercept, inverse_slope, inverse_intercept, pearson = regression.result()
        if count < 2:
            raise ShapeError(f"a calibration: found {counted(count)}, wanted 2 or more")
        if math.isnan(slope) or math.isnan(inverse_slope):
            raise UnavailableError("conformity or cosine does not vary over the rows: no line fits")
        self._calibration = Calibration(
            slope, intercept, pearson, inverse_slope, inverse_intercept, count, member
        )
        return self._calibration

    @property
    def calibration(self) -> Calibration | None:
        """The last calibration, unless rows were added since."""
        return self._calibration

    def estimated_conformity(
        self, x: Any, *, on_invalid: OnInvalid = "error", n_threads: int | None = None
    ) -> Array:
        """Conformity estimated from the cosine to the mean (Eq. 11), shape (n,).

        Parameters
        ----------
        x, on_invalid, n_threads
            As for `conformity`.

        Raises
        ------
        UnavailableError
            If there is no calibration.
        """
        if self._calibration is None:
            raise UnavailableError("this ellipsoid has no calibration: call calibrate(x) first")
        cosine = self.cosine_to_mean(x, on_invalid=on_invalid, n_threads=n_threads)
        return self._calibration.estimate(cosine)

    def shell(
        self, x: Any, *, on_invalid: OnInvalid = "error", n_threads: int | None = None
    ) -> Shell:
        """Distances of rows from the mean: the thin shell (Eq. 3 and 4, Figure 4).

        Parameters
        ----------
        x, on_invalid, n_threads
            As for `fit`.

        Returns
        -------
        Shell
            In the units of the embeddings.
        """
        check_policy(on_invalid)
        check_threads(n_threads)
        source = as_source(x)
        source.expect_dim(self.dim, "the ellipsoid")
        mean = self.mean
        shell = _native.Shell(mean)
        for located in source.read():
            batch = located.batch
            try:
                shell.update(batch.rows, batch.dtype, on_invalid != "error", n_threads)
            except InvalidRowError as error:
                located.refuse_native(error.row, error.status)
            del batch, located
        count, average, variance, least, greatest = shell.result()
        if count == 0:
            raise ShapeError("the shell: found 0 valid rows, wanted 1 or more")
        if not _squares_are_safe(greatest):
            variance = math.nan
        return Shell(count, average, variance, least, greatest)

    # ------------------------------------------------------------------- files

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write to a file: safetensors, with a JSON header. Complete or not there at all.

        Raises
        ------
        OutputError
            If the file cannot be written.
        """
        from clipsoid._file import write_ellipsoid

        write_ellipsoid(self, path)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read from a file that `save` wrote. Nothing is unpickled.

        Raises
        ------
        StoreError
            If the file is missing, damaged or no ellipsoid.
        """
        from clipsoid._file import read_ellipsoid

        return read_ellipsoid(cls, path)

    def __reduce__(self) -> tuple[Any, ...]:
        from clipsoid._file import from_bytes, to_bytes

        return from_bytes, (type(self), to_bytes(self))

    def __repr__(self) -> str:
        parts = [f"count={self.count}", f"dim={self.dim}"]
        if self.dtypes:
            parts.append("+".join(sorted(self.dtypes)))
        if self.count:
            parts.append("normalized" if self.is_normalized else "raw")
        parts.append("covariance" if self.has_covariance else "means only")
        if self._calibration is not None:
            parts.append("calibrated")
        if self.encoder is not None:
            parts.append(f"encoder={self.encoder!r}")
        if self.invalid.total:
            parts.append(f"left out {self.invalid.total} invalid rows")
        if self._dropped:
            parts.append(f"dropped in a merge: {', '.join(self._dropped)}")
        return f"Ellipsoid({', '.join(parts)})"


def _squares_are_safe(greatest: float) -> bool:
    """Whether squares of numbers up to `greatest`, and their sums, are good float64."""
    return greatest == 0 or 1e-130 < greatest < 1e145
