"""What made a set, as the manifest beside its shards says."""

from __future__ import annotations

import json
import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from clipsoid.errors import LossWarning, MismatchError, StoreError
from clipsoid.store.files import Place

if TYPE_CHECKING:
    from clipsoid.store.base import Store

#: The manifest of a set that `clipsoid embed` made.
MANIFEST = "manifest.json"
FORMAT, FORMAT_VERSION = "clipsoid.embed", 1

#: Of the loss of CLIP models, where nothing says another.
USUAL_TEMPERATURE = 0.01


@dataclass(frozen=True, slots=True)
class Origin:
    """The model that made a set.

    Attributes
    ----------
    encoder : str
        Name, weights and their digest.
    temperature : float
        Of the model's loss.
    logit_bias : float or None
        Of a sigmoid loss; None for a softmax loss.
    is_complete : bool
        Whether the set was embedded to its end.
    """

    encoder: str
    temperature: float
    logit_bias: float | None
    is_complete: bool = field(default=True, compare=False)


def softmax_temperature(made: Origin | None) -> float:
    """Return the temperature of a model for a softmax loss; the usual one where it is not known.

    Warns
    -----
    LossWarning
        If the model was trained with another loss.
    """
    if made is None:
        return USUAL_TEMPERATURE
    if made.logit_bias is not None:
        warnings.warn(
            f"{made.encoder} was trained with a sigmoid loss; a softmax loss is not what it made "
            "small",
            LossWarning,
            stacklevel=3,
        )
    return made.temperature


def origin(store: Store) -> Origin | None:
    """Return what made a set, or None where no manifest says it of all its shards.

    Raises
    ------
    StoreError
        If a manifest of `clipsoid embed` cannot be understood.
    MismatchError
        If shards were made by different models.
    """
    folders = {shard.path.absolute().parent: shard.path for shard in store.shards}
    found: dict[Origin, Place] = {}
    for folder in folders:
        made = read_manifest(folder) or read_manifest(folder.parent)
        if made is None:
            return None
        found.setdefault(_origin(folder, made), folder)
    if len(found) > 1:
        (one, here), (other, there), *_ = found.items()
        raise MismatchError(
            f"{here} was made by {one.encoder!r}, {there} by {other.encoder!r}; wanted one model"
        )
    return next(iter(found), None)


def common_origin(one: Any, other: Any, both: str) -> Origin | None:
    """Return what made two sets of rows, if it is known of either: of arrays it is not.

    Raises
    ------
    StoreError
        As for `origin`.
    MismatchError
        If they were made by different models; `both` says what they are.
    """
    made = [origin(x) if hasattr(x, "located_batches") else None for x in (one, other)]
    return one_origin(made[0], made[1], both)


def one_origin(one: Origin | None, other: Origin | None, both: str) -> Origin | None:
    """Return what made two sets of rows, if it is known of either; refuse two models."""
    if one is not None and other is not None and one != other:
        raise MismatchError(
            f"{both} are of {one.encoder!r} and of {other.encoder!r}; wanted one model"
        )
    return one or other


def read_manifest(folder: Place) -> dict[str, Any] | None:
    """Read the manifest in a folder, or None if there is none of `clipsoid embed`.

    Raises
    ------
    StoreError
        If it cannot be read, or is of another version.
    """
    path = folder / MANIFEST
    try:
        contents = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None
    except OSError as error:
        raise StoreError(f"{path}: cannot be read: {error.strerror or error}") from None
    # Other programs call files so too, and some web servers answer every request with a page.
    if FORMAT.encode() not in contents:
        return None
    try:
        found = json.loads(contents)
    except ValueError as error:
        raise StoreError(f"{path}: cannot be read: {error}") from None
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        return None
    if found.get("format_version") != FORMAT_VERSION:
        raise StoreError(
            f"{path}: is of version {found.get('format_version')!r}; wanted {FORMAT_VERSION}"
        )
    return found


def _origin(folder: Place, manifest: dict[str, Any]) -> Origin:
    try:
        model = manifest["made"]["model"]
        name = " ".join(filter(None, [model["name"], model["pretrained"]]))
        return Origin(
            f"{name} ({model['weights'][:8]})",
            float(model["temperature"]),
            model["logit_bias"],
            manifest.get("complete") is not False,
        )
    except (KeyError, TypeError, ValueError):
        raise StoreError(f"{folder}: its {MANIFEST} does not say which model made it") from None
