"""What producers write, laid out as they do: the same rows in every layout."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from safetensors.numpy import save_file

#: Rows of each shard: unequal, and one of more than a digit's worth of shards.
SIZES = (7, 20, 13, 5, 9, 11, 3, 8, 6, 10, 12)
ROWS = sum(SIZES)
DIM = 16


def pairs(dtype: str = "float16") -> tuple[np.ndarray, np.ndarray]:
    """Images and texts that are near their partners, normalised."""
    rng = np.random.default_rng(5)
    topic = rng.standard_normal((ROWS, DIM))
    sides = (topic + 0.3 * rng.standard_normal((ROWS, DIM)) + shift for shift in (0.5, -0.5))
    image, text = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in sides)
    return image.astype(dtype), text.astype(dtype)


def parts(rows: np.ndarray | list) -> list:
    """The rows of each shard."""
    ends = np.cumsum(SIZES)
    return [rows[end - size : end] for end, size in zip(ends, SIZES, strict=True)]


def uid(row: int) -> str:
    """128 bits in hexadecimal, as DataComp's."""
    return hashlib.md5(str(row).encode()).hexdigest()


UIDS = [uid(row) for row in range(ROWS)]
CAPTIONS = [f"caption of {row}" for row in range(ROWS)]
PATHS = [f"images/{row:04}.jpg" for row in range(ROWS)]


def clip_retrieval(folder: Path, *, padded: bool = False, metadata: bool = True) -> None:
    """As clip_retrieval.clip_inference.writer: one file of each kind for a partition."""
    width = 2 if padded else 0
    for name, rows in zip(("img_emb", "text_emb"), pairs(), strict=True):
        (folder / name).mkdir(parents=True)
        for i, part in enumerate(parts(rows)):
            np.save(folder / name / f"{name}_{i:0{width}d}.npy", part)
    if metadata:
        (folder / "metadata").mkdir()
        paths, captions = parts(PATHS), parts(CAPTIONS)
        for i, (path, caption) in enumerate(zip(paths, captions, strict=True)):
            frame = pd.DataFrame({"image_path": path, "caption": caption})
            frame.to_parquet(folder / "metadata" / f"metadata_{i:0{width}d}.parquet")


def datacomp(folder: Path) -> None:
    """`{hash}.npz` beside `{hash}.parquet`; both ways in which numpy writes .npz."""
    folder.mkdir(parents=True)
    image, text = (parts(rows) for rows in pairs())
    uids, texts = parts(UIDS), parts(CAPTIONS)
    for i in range(len(SIZES)):
        name = uid(1000 + i)
        arrays = {"l14_img": image[i], "l14_txt": text[i]}
        arrays |= {"b32_img": image[i][:, :8], "b32_txt": text[i][:, :8]}
        (np.savez if i % 2 else np.savez_compressed)(folder / f"{name}.npz", **arrays)
        score = (image[i].astype(float) * text[i].astype(float)).sum(axis=1)
        table = {"uid": uids[i], "text": texts[i], "clip_l14_similarity_score": score}
        pq.write_table(pa.table(table), folder / f"{name}.parquet")


def datacomp_order() -> np.ndarray:
    """Shards of `datacomp` in the order of their names, by the rule of the documentation."""
    import re

    def key(i: int) -> list:
        parts = re.split("([0-9]+)", uid(1000 + i))
        return [int(part) if j % 2 else part for j, part in enumerate(parts)]

    order = sorted(range(len(SIZES)), key=key)
    numbers = parts(np.arange(ROWS))
    return np.concatenate([numbers[i] for i in order])


def nemo(folder: Path) -> None:
    """NeMo Curator: `id` and `embeddings`, float32, by pandas."""
    folder.mkdir(parents=True)
    image, _ = pairs("float32")
    for i, (rows, ids) in enumerate(zip(parts(image), parts(UIDS), strict=True)):
        frame = pd.DataFrame({"id": ids, "embeddings": list(rows)})
        frame.to_parquet(folder / f"part.{i}.parquet")


def img2dataset(folder: Path) -> None:
    """Embeddings beside img2dataset's metadata, which keeps the rows that failed."""
    folder.mkdir(parents=True)
    image, _ = pairs()
    for i, (rows, ids) in enumerate(zip(parts(image), parts(UIDS), strict=True)):
        np.save(folder / f"{i:05}.npy", rows)
        keys = [one for name in ids for one in (name, f"failed-{name}")]
        status = ["success", "failed_to_download"] * len(ids)
        pl.DataFrame({"key": keys, "status": status}).write_parquet(folder / f"{i:05}.parquet")
        (folder / f"{i:05}_stats.json").write_text("{}")
        (folder / f"{i:05}.tar").write_bytes(b"")


def npy_and_parquet(folder: Path) -> None:
    """embedding-reader's parquet_npy: the same order, not the same names."""
    image, _ = pairs()
    (folder / "vectors").mkdir(parents=True)
    (folder / "tables").mkdir()
    for i, (rows, ids) in enumerate(zip(parts(image), parts(UIDS), strict=True)):
        np.save(folder / "vectors" / f"x{i:02}.npy", rows)
        pq.write_table(
            pa.table({"uid": ids}), folder / "tables" / f"part-{i:02}-{uid(i)[:4]}.parquet"
        )


def plain(write: Callable[[Path, np.ndarray], object], suffix: str) -> Callable[[Path], None]:
    """A folder of one format."""

    def lay_out(folder: Path) -> None:
        folder.mkdir(parents=True)
        for i, rows in enumerate(parts(pairs()[0])):
            write(folder / f"{i}{suffix}", rows)

    return lay_out


def by_pyarrow(path: Path, rows: np.ndarray) -> None:
    column = pa.FixedSizeListArray.from_arrays(pa.array(rows.ravel()), rows.shape[1])
    pq.write_table(pa.table({"embedding": column}), path)


#: Of one modality, not named: kind, how it is laid out, the column of ids.
SINGLE = {
    "npy": (plain(np.save, ".npy"), None),
    "npz": (plain(lambda path, rows: np.savez(path, e=rows), ".npz"), None),
    "parquet": (plain(by_pyarrow, ".parquet"), None),
    "safetensors": (plain(lambda path, rows: save_file({"e": rows}, path), ".safetensors"), None),
    "npy + parquet": (npy_and_parquet, "uid"),
    "NeMo Curator": (nemo, "id"),
    "img2dataset": (img2dataset, "key"),
}
