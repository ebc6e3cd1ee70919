"""embedding-reader, by clip-retrieval's author, reads our sets back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from embed.models import rows_of

reader = pytest.importorskip("embedding_reader", reason="embedding-reader is not installed")


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_rows_and_metadata(run, folder: Path, tmp_path: Path, dtype: str) -> None:
    table = tmp_path / "captions.csv"
    table.write_text("image,caption\n" + "\n".join(f"{i:02}.png,text {i}" for i in range(8)))
    made = run(folder, table, shard_rows=3, dtype=dtype)
    for name in ("img_emb", "text_emb"):
        found = reader.EmbeddingReader(
            embeddings_folder=str(made.folder / name),
            metadata_folder=str(made.folder / "metadata"),
            file_format="parquet_npy",
            meta_columns=["image_path", "caption"],
        )
        assert (found.count, found.dimension) == (8, 16)
        rows, captions = [], []
        for batch, beside in found(batch_size=3, start=0, end=8, show_progress=False):
            rows.append(batch)
            captions += beside["caption"].tolist()
        assert np.array_equal(np.concatenate(rows), rows_of(made.folder, name))
        want = pl.read_parquet(made.folder / "metadata" / "*.parquet")
        assert captions == want["caption"].to_list()
