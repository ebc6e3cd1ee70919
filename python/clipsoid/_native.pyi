"""The Rust core. Private: the modules above check arguments and name what is wrong."""

from collections.abc import Sequence
from typing import Any, TypedDict, final

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "BLOCK",
    "FeatureHistograms",
    "GroupMoments",
    "LossSweep",
    "Mapping",
    "Modality",
    "Moments",
    "Regression",
    "Shell",
    "ShiftedConformity",
    "__version__",
    "affine",
    "affine_squares",
    "arrow_column",
    "conformity",
    "cosines",
    "distances",
    "false_negatives",
    "false_negatives_within",
    "feature_ranges",
    "least_left",
    "nearest_rows",
    "off_diagonal_dominance",
    "pairwise_conformity",
    "populate",
    "retrieval_counts",
    "score",
    "simd_level",
    "simd_levels",
    "similarity_histogram",
    "zero_fills",
]

__version__: str
BLOCK: int

_Vector = NDArray[np.float64]
_Codes = NDArray[np.uint8]
_Counts = NDArray[np.int64]
_Blocks = tuple[int, int]
_Found = tuple[_Counts, _Counts, _Vector]

class _State(TypedDict):
    count: int
    seen: int
    non_finite: int
    zero_norm: int
    float64: bool
    norm_mean: float
    norm_squares: float
    norm_min: float
    norm_max: float
    norm_rms: float
    mean: _Vector
    squares: _Vector
    unit_sum: _Vector

@final
class Mapping:
    # A buffer of bytes, which Python 3.11 has no name for.
    def __new__(cls, file: int, offset: int, length: int) -> Mapping: ...
    @property
    def is_guarded(self) -> bool: ...

@final
class Moments:
    def __new__(cls, dim: int, covariance: bool, float64: bool) -> Moments: ...
    @property
    def dim(self) -> int: ...
    @property
    def seen(self) -> int: ...
    def update(
        self, array: NDArray[Any], dtype: str, skip_invalid: bool, n_threads: int | None
    ) -> None: ...
    def merge(self, other: Moments, n_threads: int | None) -> None: ...
    def copy(self) -> Moments: ...
    @property
    def has_scatter(self) -> bool: ...
    def scatter(self) -> _Vector | None: ...
    def state(self) -> _State: ...
    @staticmethod
    def from_state(state: _State, scatter: _Vector | None) -> Moments: ...
    def snapshot(self) -> tuple[_State, _Vector | None, str, _Codes]: ...
    @staticmethod
    def restore(
        state: _State, scatter: _Vector | None, waiting: NDArray[Any], dtype: str
    ) -> Moments: ...

class _GroupState(TypedDict):
    count: NDArray[np.uint64]
    seen: int
    non_finite: int
    zero_norm: int
    mean: _Vector
    squares: _Vector
    unit_sum: _Vector
    norms: _Vector

@final
class GroupMoments:
    def __new__(cls, count: int, dim: int) -> GroupMoments: ...
    @staticmethod
    def restore(
        *,
        mean: NDArray[np.float64],
        squares: NDArray[np.float64],
        unit_sum: NDArray[np.float64],
        count: NDArray[np.uint64],
        norms: NDArray[np.float64],
        seen: int,
        non_finite: int,
        zero_norm: int,
    ) -> GroupMoments: ...
    @property
    def seen(self) -> int: ...
    def update(
        self,
        array: NDArray[Any],
        dtype: str,
        group: NDArray[np.uint32],
        skip_invalid: bool,
        n_threads: int | None,
    ) -> None: ...
    def state(self) -> _GroupState: ...

@final
class Shell:
    def __new__(cls) -> Shell: ...
    def update(self, radii: _Vector) -> None: ...
    def result(self) -> tuple[int, float, float, float, float]: ...

@final
class Regression:
    def __new__(cls) -> Regression: ...
    def update(self, x: _Vector, y: _Vector) -> None: ...
    def result(self) -> tuple[int, float, float, float, float, float]: ...

@final
class Modality:
    def __new__(cls, array: NDArray[Any], dtype: str, n_threads: int | None) -> Modality: ...
    @property
    def norms(self) -> tuple[float, float]: ...

class _SweepState(TypedDict):
    own: _Vector
    offset: _Vector
    left_sum: _Vector
    left_missed: NDArray[np.bool_]
    right_sum: _Vector
    right_missed: NDArray[np.bool_]

@final
class LossSweep:
    def __new__(
        cls,
        left: Modality,
        right: Modality,
        alphas: Sequence[float],
        both: bool,
        temperature: float,
        n_threads: int | None,
    ) -> LossSweep: ...
    def run(self, start: int, stop: int, n_threads: int | None) -> None: ...
    @property
    def passes(self) -> int: ...
    def take(self) -> _SweepState: ...

@final
class ShiftedConformity:
    def __new__(
        cls, alphas: Sequence[float], count: int, mean: _Vector, rms: float
    ) -> ShiftedConformity: ...
    def update(self, array: NDArray[Any], dtype: str, n_threads: int | None) -> None: ...
    def finish(self, n_threads: int | None) -> None: ...
    def conformity(self, array: NDArray[Any], dtype: str, n_threads: int | None) -> _Vector: ...

@final
class FeatureHistograms:
    def __new__(cls, edges: _Vector) -> FeatureHistograms: ...
    def update(self, array: NDArray[Any], dtype: str, n_threads: int | None) -> None: ...
    def counts(self) -> _Counts: ...

def feature_ranges(
    array: NDArray[Any], dtype: str, n_threads: int | None
) -> tuple[_Vector, _Vector]: ...
def least_left(count: int, rms: float, alphas: _Vector, norms: _Vector) -> _Vector: ...
def score(
    array: NDArray[Any],
    dtype: str,
    count: int,
    mean: _Vector,
    unit_mean: _Vector,
    member: bool,
    n_threads: int | None,
    partner: tuple[NDArray[Any], str] | None = None,
    groups: tuple[NDArray[np.uint32], NDArray[np.uint64], _Vector, bool] | None = None,
) -> tuple[_Vector, _Vector, _Vector, _Codes, tuple[_Vector, _Codes] | None, _Vector | None]: ...
def cosines(
    array: NDArray[Any],
    dtype: str,
    partner: NDArray[Any],
    partner_dtype: str,
    n_threads: int | None,
) -> tuple[_Vector, _Codes, _Codes]: ...
def conformity(
    array: NDArray[Any],
    dtype: str,
    count: int,
    unit_mean: _Vector,
    member: bool,
    n_threads: int | None,
) -> tuple[_Vector, _Codes]: ...
def pairwise_conformity(
    array: NDArray[Any], dtype: str, skip_invalid: bool, n_threads: int | None
) -> tuple[_Vector, _Codes]: ...
def off_diagonal_dominance(covariance: _Vector, count: int) -> tuple[_Vector, _Vector]: ...
def distances(
    array: NDArray[Any], dtype: str, mean: _Vector, n_threads: int | None
) -> tuple[_Vector, _Codes]: ...
def affine(
    array: NDArray[Any],
    dtype: str,
    centre: _Vector,
    matrix: _Vector,
    offset: _Vector | None,
    out: NDArray[Any],
    n_threads: int | None,
) -> _Codes: ...
def affine_squares(
    array: NDArray[Any],
    dtype: str,
    centre: _Vector,
    matrix: _Vector,
    float64: bool,
    n_threads: int | None,
) -> tuple[_Vector, _Codes]: ...
def retrieval_counts(
    image: NDArray[Any],
    text: NDArray[Any],
    dtype: str,
    image_of: _Counts,
    blocks: _Blocks,
    n_threads: int | None,
) -> list[tuple[_Counts, _Counts]]: ...
def false_negatives(
    image: NDArray[Any],
    text: NDArray[Any],
    dtype: str,
    k: int,
    margin: float,
    blocks: _Blocks,
    n_threads: int | None,
) -> tuple[_Vector, list[_Found]]: ...
def false_negatives_within(
    x: NDArray[Any],
    dtype: str,
    k: int,
    threshold: float,
    blocks: _Blocks,
    n_threads: int | None,
) -> _Found: ...
def nearest_rows(
    queries: _Vector, x: NDArray[Any], dtype: str, k: int, n_threads: int | None
) -> tuple[_Counts, _Vector]: ...
def similarity_histogram(
    x: NDArray[Any],
    y: NDArray[Any] | None,
    dtype: str,
    edges: _Vector,
    blocks: _Blocks,
    n_threads: int | None,
) -> tuple[_Counts, int, int]: ...
def arrow_column(
    column: object,
) -> tuple[str, int, list[tuple[_Codes, NDArray[np.int64], NDArray[np.bool_] | None]]]: ...
def simd_level() -> str: ...
def simd_levels() -> list[str]: ...
def populate(address: int, length: int) -> None: ...
def zero_fills() -> int: ...
