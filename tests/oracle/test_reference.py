"""The oracle itself: by hand on small sets, and its two forms of conformity against each other."""

from __future__ import annotations

import math

import numpy as np
import pytest

from oracle import reference

#: Units (1, 0), (0, 1), (0.6, 0.8); mean (4/3, 2).
X = np.array([[1.0, 0.0], [0.0, 2.0], [3.0, 4.0]])


def close(got: object, want: object) -> None:
    np.testing.assert_allclose(got, want, rtol=1e-14, atol=1e-15)


def test_moments_by_hand() -> None:
    close(reference.norms(X), [1, 2, 5])
    close(reference.mean(X), [4 / 3, 2])
    close(reference.unit_mean(X), [1.6 / 3, 0.6])
    close(reference.std(X), [math.sqrt(14) / 3, math.sqrt(8 / 3)])
    close(reference.covariance(X), [[7 / 3, 2], [2, 4]])
    close(reference.center_ratio(X), math.sqrt((16 / 9 + 4) / (14 / 9 + 8 / 3)))


def test_scores_by_hand() -> None:
    close(reference.conformity(X), [0.3, 0.4, 0.7])
    close(reference.mean_conformity(X), 1.4 / 3)
    close(reference.conformity_of_outsiders([[0, 7.0]], X), [0.6])
    close(reference.cosine_to_mean(X, [0, 5]), [0, 1, 0.8])


def test_tilt_and_gap_by_hand() -> None:
    close(reference.off_diagonal_dominance(X), [6 / 7, 0.5])
    ratio = math.sqrt((8 / 3) / (14 / 9))
    factor = math.sqrt(2 / (3 * math.pi))
    close(reference.off_diagonal_dominance_null(X), [factor * ratio, factor / ratio])
    close(reference.modality_gap(X, X + np.array([3, 4]))[0], 5)


def test_the_shell_by_hand() -> None:
    square = np.array([[1.0, 1], [1, -1], [-1, 1], [-1, -1], [0, 0]]) + 7
    shell = reference.shell(square)
    r = math.sqrt(2)
    want = (0.8 * r, 0.16 * 2, math.sqrt(1.6), 0, r, 1 - 0.8 * r / math.sqrt(1.6))
    close(shell, want)


def test_regression_by_hand() -> None:
    p, q = np.array([0.0, 1, 2]), np.array([1.0, 1, 4])
    close(reference.line(p, q), (1.5, 0.5))
    close(reference.line(q, p), (0.5, 0))
    close(reference.pearson(p, q), math.sqrt(0.75))


@pytest.mark.parametrize("scale", [1e-300, 1.0, 1e300])
def test_the_linear_form_is_the_definition(scale: float) -> None:
    x = np.random.default_rng(0).standard_normal((50, 6)) + 0.5
    want = np.array(
        [
            np.mean(
                [x[j] @ x[k] / math.hypot(*x[j]) / math.hypot(*x[k]) for k in range(50) if k != j]
            )
            for j in range(50)
        ]
    )
    close(reference.conformity(x * scale), want)
    close(reference.conformity_of_members(x * scale), want)


def test_rows_without_a_direction() -> None:
    x = [[0, -0.0], [1, np.nan], [np.inf, 1], [5e-324, 0], [1e300, 1e300]]
    np.testing.assert_array_equal(reference.valid(x), [False, False, False, True, True])
