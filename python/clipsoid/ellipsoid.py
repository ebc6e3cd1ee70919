"""Ellipsoid: everything that one modality is, fitted in one pass, mergeable, in one file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from clipsoid._beside import Beside
from clipsoid._geometry import Geometry
from clipsoid._scoring import (
    Reference,
    conformity_batches,
    gather,
    joined,
    radius_batches,
    score_batches,
)
from clipsoid._shown import Drawn
from clipsoid._source import OnInvalid, Source, as_source, check_policy, check_threads
from clipsoid._summary import calibration_of, shell_of
from clipsoid.errors import UnavailableError
from clipsoid.results import Calibration, Scores, Shell

if TYPE_CHECKING:
    from clipsoid.whitening import Whitening

Array = NDArray[np.float64]


class Ellipsoid(Drawn, Geometry):
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

    def reference(self, *, member: bool) -> Reference:
        """Return what rows are scored against, as the scoring loop takes it."""
        self._need(2 if member else 1, "conformity")
        return Reference(self.count, self.mean, self.unit_mean, member)

    def _against(
        self, x: Any, member: bool, on_invalid: OnInvalid, n_threads: int | None
    ) -> tuple[Source, Reference]:
        return self._source(x, on_invalid, n_threads), self.reference(member=member)

    def _source(self, x: Any, on_invalid: OnInvalid, n_threads: int | None) -> Source:
        check_policy(on_invalid)
        check_threads(n_threads)
        source = as_source(x)
        source.expect_dim(self.dim, "the ellipsoid")
        return source

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
        partner: Any = None,
        whitening: Whitening | None = None,
        on_invalid: OnInvalid = "error",
        n_threads: int | None = None,
    ) -> Scores:
        """Conformity, cosine to the mean and norm of rows, in one pass over them.

        Parameters
        ----------
        x, member, n_threads
            As for `conformity`.
        partner : array, tensor, column, path or store of shape (n, d), optional
            The rows' partners, such as the captions of images: adds the cosine to them. Row by
            row, as they are stored: `EmbeddingSet.pairs` brings a set's into one order by ids.
            Element types and batches may differ from those of `x`.
        whitening : Whitening, optional
            Adds the log-likelihood under its normal law.
        on_invalid : {"error", "skip", "null"}, default="error"
            As for `conformity`. Of partners, "error" refuses an invalid one; the others leave the
            cosine to it NaN and touch nothing else.

        Returns
        -------
        Scores
            One entry per row, but for the rows that "skip" leaves out: `row` says which remain.

        Raises
        ------
        ShapeError
            If there is not one partner for each row.
        MismatchError
            If the features of ellipsoid, rows, partners or whitening differ in number.
        InvalidRowError, DTypeError, StoreError
            If the rows cannot be had.

        Examples
        --------
        >>> import clipsoid as cs
        >>> image, text, _ = cs.double_ellipsoid(1000, seed=0)
        >>> e = cs.Ellipsoid.fit(image)
        >>> scores = e.score(image, member=True, partner=text)
        >>> scores
        Scores(1000 rows, 0 invalid, cosine_to_partner)
        """
        source, reference = self._against(x, member, on_invalid, n_threads)
        beside = Beside.of(source, partner=partner, whitening=whitening)
        parts = score_batches(
            source, reference, beside=beside, on_invalid=on_invalid, n_threads=n_threads
        )
        return joined(list(parts))

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
        parts = self._score(x, member, on_invalid, n_threads)
        self._calibration = calibration_of(parts, member=member)
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
        source = self._source(x, on_invalid, n_threads)
        return shell_of(
            radius_batches(source, self.mean, on_invalid=on_invalid, n_threads=n_threads)
        )

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
