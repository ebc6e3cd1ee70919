"""Shards on disk, and the ways from there to a score file per shard."""

import contextlib
import io
import os
import tempfile
from pathlib import Path

import numpy as np

import clipsoid as cs
import data

#: Rows of a shard of the large job; the others are cut into `SHARDS`.
LARGE_SHARD = 1_000_000
SHARDS = 8


def make_shards(folder, rows, shard_rows=None, turn=0):
    """Float16 shards of `rows` rows in all, left as they are if they are there already.

    The features of the first are turned by `turn`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    step = shard_rows or -(-rows // SHARDS)
    paths = []
    for start in range(0, rows, step):
        path = folder / f"img_emb_{start // step:05}.npy"
        if not path.exists():
            part = data.make_rows(min(step, rows - start), np.float16)
            # The next shard is another one: its features are turned by one more.
            np.save(path, np.roll(part, turn + start // step, axis=1))
        paths.append(path)
    return paths


def make_pairs(folder, rows):
    """Shards of two modalities, and the ellipsoid of the first, means only."""
    images = make_shards(folder / "img_emb", rows)
    texts = make_shards(folder / "text_emb", rows, turn=7)
    ellipsoid = folder / "image.ellipsoid"
    if not ellipsoid.exists():
        cs.Ellipsoid.fit(images[0].parent, covariance=False).save(ellipsoid)
    return images, texts, ellipsoid


def tile_shards(folder, rows, count):
    """Float16 shards that repeat a block of rows: every page is real, and they are made quickly."""
    folder.mkdir(parents=True)
    step = rows // count
    block = data.make_rows(min(step, data.DRAWN), np.float16)
    paths = []
    for i in range(count):
        path = folder / f"img_emb_{i:05}.npy"
        shard = np.lib.format.open_memmap(path, "w+", np.float16, (step, data.DIM))
        for start in range(0, step, len(block)):
            part = shard[start : start + len(block)]
            # Another order in each shard, so that no two are one.
            part[:] = np.roll(block, i, axis=0)[: len(part)]
        shard.flush()
        paths.append(path)
    return paths


def new_folder(paths):
    """Where scores go: beside the shards, new for every run."""
    return Path(tempfile.mkdtemp(prefix="scores-", dir=paths[0].parent.parent))


def score_clipsoid(paths, *options):
    """``clipsoid score``, in this process; the folder is returned."""
    from clipsoid.cli import main

    out = new_folder(paths)
    with contextlib.redirect_stdout(io.StringIO()):
        arguments = ["score", str(paths[0].parent), "--out", str(out), "--quiet", *options]
        assert main(arguments) == 0
    return out


def score_pairs_clipsoid(pairs):
    """``clipsoid score --partner``, in this process; the folder is returned."""
    images, texts, ellipsoid = pairs
    return score_clipsoid(images, "--ellipsoid", str(ellipsoid), "--partner", str(texts[0].parent))


def cosines_by_hand(pairs):
    """What a user would write: chunks in float32, one frame per shard; the cosines alone."""
    import polars as pl

    images, texts, _ = pairs
    out = new_folder(images)
    for image, text in zip(images, texts, strict=True):
        x, y = np.load(image, mmap_mode="r"), np.load(text, mmap_mode="r")
        found = []
        for start in range(0, len(x), 16384):
            a, b = (z[start : start + 16384].astype(np.float32) for z in (x, y))
            norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
            found.append(np.einsum("ij,ij->i", a, b) / norms)
        frame = pl.DataFrame({"cosine_to_partner": np.concatenate(found)})
        frame.write_parquet(out / f"{image.stem}.parquet")
    return out


def exact_cosines(pairs):
    """Cosines in float64."""
    images, texts, _ = pairs
    parts = (
        (data.units(a) * data.units(b)).sum(axis=1)
        for image, text in zip(images, texts, strict=True)
        for a, b in zip(
            data.float64_parts(np.load(image, mmap_mode="r")),
            data.float64_parts(np.load(text, mmap_mode="r")),
            strict=True,
        )
    )
    return np.concatenate([*parts])


def score_by_hand(paths):
    """What a user would write: chunks in float32, two passes, one frame per shard."""
    import polars as pl

    def chunks(path):
        x = np.load(path, mmap_mode="r")
        for start in range(0, len(x), 16384):
            yield x[start : start + 16384].astype(np.float32)

    count, total, mean = 0, np.zeros(data.DIM), np.zeros(data.DIM)
    for path in paths:
        for part in chunks(path):
            total += (1 / np.linalg.norm(part, axis=1)) @ part
            mean += part.sum(axis=0)
            count += len(part)
    directions = np.stack([total, mean / np.linalg.norm(mean)], axis=1).astype(np.float32)
    out = new_folder(paths)
    for path in paths:
        found = []
        for part in chunks(path):
            norm = np.linalg.norm(part, axis=1)
            products = part @ directions / norm[:, None]
            found.append(((products[:, 0] - 1) / (count - 1), products[:, 1], norm))
        names = ("conformity", "cosine_to_mean", "norm")
        columns = dict(zip(names, map(np.concatenate, zip(*found, strict=True)), strict=True))
        frame = pl.DataFrame({"row": np.arange(len(columns["norm"]), dtype=np.uint32)} | columns)
        frame.write_parquet(out / f"{path.stem}.parquet")
    return out


def exact_scores(paths):
    """Conformity in float64."""
    total, count = np.zeros(data.DIM), 0
    for path in paths:
        for part in data.float64_parts(np.load(path, mmap_mode="r")):
            total += data.units(part).sum(axis=0)
            count += len(part)
    exact = [
        (data.units(part) @ total - 1) / (count - 1)
        for path in paths
        for part in data.float64_parts(np.load(path, mmap_mode="r"))
    ]
    return np.concatenate(exact)


def cosine_deviation(folder, want):
    """Largest deviation of a cosine to a partner in the score files."""
    return score_deviation(folder, want, "cosine_to_partner")


def score_deviation(folder, want, column="conformity"):
    """Largest deviation of a score in the score files."""
    import polars as pl

    files = sorted(folder.glob("*.parquet"))
    found = [pl.read_parquet(path, columns=[column])[column] for path in files]
    return data.largest_difference(np.concatenate([part.to_numpy() for part in found]), want)


def forget(paths):
    """Drop files from the page cache."""
    for path in paths:
        with path.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
