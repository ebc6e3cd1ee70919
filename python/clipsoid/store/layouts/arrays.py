"""Which arrays of a file are its embeddings, and of which modality: read from headers alone."""

from __future__ import annotations

from collections.abc import Mapping

from clipsoid.errors import StoreError
from clipsoid.store.files import Place
from clipsoid.store.layouts.names import MODALITIES, modality_of_name, paired_arrays
from clipsoid.store.opening import ARROW
from clipsoid.store.paths import MODELS

#: DataComp stores embeddings of two models of OpenAI side by side; the larger is taken unless a key
#: names the other.
DATACOMP_ARRAYS = frozenset(["b32_img", "b32_txt", "l14_img", "l14_txt"])
DATACOMP_ENCODERS = {"b32": "ViT-B-32 openai", "l14": "ViT-L-14 openai"}
DATACOMP_USUAL = "l14"
OPENAI_TEMPERATURE = 0.01


def array_names(path: Place) -> list[str]:
    """Names of what may be embeddings in a file; none for .npy."""
    match path.suffix.lower():
        case ".npz":
            from clipsoid.store.npz import member_names

            return member_names(path)
        case ".safetensors":
            from clipsoid.store.safetensors import tensor_names

            return tensor_names(path)
        case suffix if suffix in MODELS:
            from clipsoid.store import torch_file

            return torch_file.tensor_names(path)
        case ".parquet":
            from clipsoid.store.parquet import embedding_columns
            from clipsoid.store.parquet_columns import read_header

            return embedding_columns(read_header(path).types)
        case suffix if suffix in ARROW:
            from clipsoid.store.arrow import column_names

            return column_names(path)
        case _:
            return []


def wanted_arrays(path: Place, names: list[str], key: str | None) -> Mapping[str, str | None]:
    """Choose the arrays of a set by those in its first file, for each modality a key.

    Parameters
    ----------
    path : Path
        The first file.
    names : list of str
        Its arrays.
    key : str, optional
        Name of one array, or what the names of a pair share, such as ``l14``.

    Returns
    -------
    mapping
        Keys by ``"image"`` and ``"text"``, or by ``"rows"`` where no name says a modality.
    """
    if key in names:
        return {modality_of_name(str(key)) or "rows": key}
    pairs = paired_arrays(names)
    if key is not None:
        # An unknown key is refused by the reader, which lists what there is.
        pair = pairs.get(key)
        return {"rows": key} if pair is None else dict(zip(MODALITIES, pair, strict=True))
    if len(names) == 1:
        modality = modality_of_name(names[0])
        return {"rows": None} if modality is None else {modality: names[0]}
    if not pairs:
        return {"rows": None}
    if DATACOMP_ARRAYS.issubset(names):
        pairs = {DATACOMP_USUAL: pairs[DATACOMP_USUAL]}
    if len(pairs) > 1:
        raise StoreError(
            f"{path}: holds {len(pairs)} pairs of images and texts; wanted one of "
            f"{', '.join(map(repr, pairs))} as the key (key=, --key)"
        )
    (pair,) = pairs.values()
    return dict(zip(MODALITIES, pair, strict=True))


def encoder_of(keys: Mapping[str, str | None]) -> str | None:
    """Return the model that the names of DataComp's arrays stand for."""
    used = [key for key in keys.values() if key in DATACOMP_ARRAYS]
    return DATACOMP_ENCODERS[used[0][:3]] if used else None
