"""The exceptions of clipsoid, and its warnings.

Every one derives from :class:`ClipsoidError` and, where a built-in exception says the same thing,
from that one too, so ``except ValueError`` keeps working. The message names the argument or the
file, the row where there is one, what was found and what was wanted.
"""

from __future__ import annotations

__all__ = [
    "ClipsoidError",
    "DTypeError",
    "EmbedError",
    "EmbedWarning",
    "InvalidRowError",
    "LossWarning",
    "MismatchError",
    "OutputError",
    "PairingWarning",
    "SelectionError",
    "ShapeError",
    "SmallSampleWarning",
    "StoreError",
    "UnavailableError",
]


class ClipsoidError(Exception):
    """Base class of every error that clipsoid raises on purpose."""


class ShapeError(ClipsoidError, ValueError):
    """An array, tensor or column is not ``(n, d)``, or has too few rows."""


class DTypeError(ClipsoidError, TypeError):
    """The elements are not float16, bfloat16, float32 or float64."""


class InvalidRowError(ClipsoidError, ValueError):
    """A row is not finite, has zero norm or is missing, and the policy is ``"error"``.

    Or nothing is left of it, or no arc leads from it to its partner.

    Attributes
    ----------
    row : int
        Its number in the array or file that the message names.
    status : str
        ``"non_finite"``, ``"zero_norm"`` or ``"missing"``; ``"vanishes"`` if moving the centre
        leaves nothing of it; ``"opposite"`` if it is to be interpolated with its opposite.
    side : str
        Of two sets of rows, the one that the core found it in: ``"left"`` or ``"right"``.
    """

    row: int
    status: str
    side: str
    # Which of two sets, where the core compares two.
    _argument: str


class MismatchError(ClipsoidError, ValueError):
    """Two things that must fit do not: dimensions, encoders, or what an ellipsoid was fitted on."""


class UnavailableError(ClipsoidError, ValueError):
    """A statistic was asked for that this ellipsoid does not hold, or no longer holds."""


class StoreError(ClipsoidError, ValueError):
    """An embedding set on disk cannot be read: missing, truncated, changed or of another format."""


class EmbedError(ClipsoidError, ValueError):
    """Images, captions or a model cannot be used: missing, broken, or not what they are said."""


class SelectionError(ClipsoidError, ValueError):
    """Rows cannot be chosen as asked: no such column, an expression that fails, no row left."""


class OutputError(ClipsoidError, OSError):
    """An output could not be written; nothing partial was left in its place."""


class SmallSampleWarning(UserWarning):
    """A figure was made of so few rows that its interval and its p-value are rough."""


class EmbedWarning(UserWarning):
    """A set was not embedded to its end, or embedding it takes more work than it need."""


class LossWarning(UserWarning):
    """A softmax loss is taken of features of a model that was trained with a sigmoid loss."""


class PairingWarning(UserWarning):
    """Images and texts that are used as pairs are no nearer to one another than by chance."""
