"""Files of torch.save: read without torch, in every layout that lies row by row, and never run."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

import clipsoid as cs
from clipsoid.errors import DTypeError, ShapeError, StoreError

ROWS = torch.from_numpy(np.random.default_rng(0).normal(size=(60, 7)))


def rows_of(store: cs.Store) -> np.ndarray:
    return np.concatenate([np.array(batch.rows) for batch in store.batches(400)])


@pytest.fixture
def saved(tmp_path: Path):
    def save(found: object, name: str = "x.pt") -> Path:
        torch.save(found, tmp_path / name)
        return tmp_path / name

    return save


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize(
    "laid",
    [
        lambda x: x,
        lambda x: torch.nn.Parameter(x),
        lambda x: torch.cat([x, x])[60:],
        lambda x: x.T.contiguous().T,
        lambda x: x[:, :1].contiguous(),
    ],
    ids=["plain", "parameter", "a slice", "columns", "one column"],
)
def test_a_tensor(saved, dtype: torch.dtype, laid) -> None:
    x = laid(ROWS.to(dtype))
    store = cs.open_store(saved(x))
    assert (store.count, store.dim) == tuple(x.shape)
    assert store.dtypes == {str(dtype).removeprefix("torch.")}
    want = x.detach().contiguous()
    bits = {2: torch.int16, 4: torch.int32, 8: torch.int64}[want.element_size()]
    found = rows_of(store)
    assert np.array_equal(found.view(f"i{want.element_size()}"), want.view(bits).numpy())


def test_the_fit_is_that_of_the_same_rows(saved, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", ROWS.numpy())
    want = cs.Ellipsoid.fit(tmp_path / "x.npy")
    found = cs.Ellipsoid.fit(saved(ROWS))
    assert np.array_equal(found.mean, want.mean)
    assert np.array_equal(found.covariance, want.covariance)


def test_one_of_several(saved) -> None:
    path = saved({"image": ROWS, "text": 2 * ROWS, "ids": torch.arange(60), "made": "by hand"})
    found = cs.open_set(path)
    assert [*found.stores] == ["image", "text"]
    assert np.array_equal(rows_of(found.text), 2 * ROWS.numpy())
    assert np.array_equal(rows_of(cs.open_store(path, key="text")), 2 * ROWS.numpy())
    with pytest.raises(StoreError, match=r"x\.pt: holds 2 tensors \(image, text\); wanted one"):
        cs.open_store(path)
    with pytest.raises(StoreError, match=r"has no tensor 'other'; found image, text"):
        cs.open_store(path, key="other")
    with pytest.raises(DTypeError, match="tensor 'ids': elements are of a LongStorage; wanted"):
        cs.open_store(path, key="ids")
    only = saved({"embeddings": ROWS, "ids": torch.arange(60)})
    assert np.array_equal(rows_of(cs.open_store(only)), ROWS.numpy())
    several = saved([ROWS, 3 * ROWS])
    assert np.array_equal(rows_of(cs.open_store(several, key="1")), 3 * ROWS.numpy())


@pytest.mark.parametrize(
    ("found", "error", "message"),
    [
        (ROWS[:, ::2], StoreError, r"rows of shape \(60, 4\) lie \(7, 2\) elements apart; wanted"),
        (ROWS[::2], StoreError, r"lie \(14, 1\) elements apart"),
        (ROWS[0].expand(60, 7), StoreError, r"lie \(0, 1\) elements apart"),
        (ROWS[0], ShapeError, r"has shape \(7,\); wanted \(n, d\)"),
        (ROWS.to(torch.int32), DTypeError, "elements are of a IntStorage; wanted HalfStorage"),
        (ROWS.to_sparse(), StoreError, r"holds torch\._utils\._rebuild_sparse_tensor; wanted"),
        ({"name": "no tensor"}, StoreError, "holds no tensors by name"),
        ("text", StoreError, "holds str; wanted torch.save of a tensor"),
        (torch.nn.Linear(3, 3).state_dict(), None, ""),
        (
            {f"layer.{i}": torch.ones(3, 3) for i in range(12)},
            StoreError,
            r"holds 12 matrices \(layer\.0, layer\.1, layer\.2, \.\.\.\), as weights of a model do",
        ),
    ],
)
def test_what_is_no_matrix(saved, found: object, error: type[Exception] | None, message: str):
    path = saved(found)
    if error is None:
        assert cs.open_store(path).count == 3
        return
    with pytest.raises(error, match=message):
        cs.open_store(path)


def test_nothing_in_a_file_is_run(tmp_path: Path) -> None:
    class Attack:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path}/run",)

    torch.save({"x": ROWS, "y": Attack()}, tmp_path / "x.pt")
    with pytest.raises(
        StoreError, match=r"x\.pt: holds posix\.system; wanted torch\.save of a ten"
    ):
        cs.open_store(tmp_path / "x.pt")
    assert not (tmp_path / "run").exists()


def test_damaged_and_old_files(tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    torch.save(ROWS, path)
    whole = path.read_bytes()
    rng = np.random.default_rng(1)
    pickled = whole.index(b"data.pkl")
    for _ in range(300):
        damaged = bytearray(whole)
        for at in rng.integers(pickled, pickled + 500, 3):
            damaged[at] = rng.integers(256)
        path.write_bytes(damaged)
        try:
            assert rows_of(cs.open_store(path)).size
        except (StoreError, DTypeError, ShapeError) as error:
            assert str(path) in str(error)
    for cut in (0, 10, 500, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:cut])
        with pytest.raises(StoreError, match=r"x\.pt: is damaged or truncated"):
            cs.open_store(path)
    torch.save(ROWS, path, _use_new_zipfile_serialization=False)
    with pytest.raises(StoreError, match=r"x\.pt: is of the format before torch 1\.6; wanted it"):
        cs.open_store(path)
    with zipfile.ZipFile(path, "w") as script:
        script.writestr("x/constants.pkl", b"")
    with pytest.raises(StoreError, match=r"x\.pt: is a program of TorchScript; wanted torch\.save"):
        cs.open_store(path)


def test_a_storage_that_is_shorter_than_the_shape_says(tmp_path: Path) -> None:
    torch.save(ROWS, tmp_path / "whole.pt")
    with (
        zipfile.ZipFile(tmp_path / "whole.pt") as whole,
        zipfile.ZipFile(tmp_path / "x.pt", "w") as less,
    ):
        for info in whole.infolist():
            data = whole.read(info)
            less.writestr(info.filename, data[:-8] if "/data/" in info.filename else data)
    with pytest.raises(StoreError, match=r"its storage has 3352 bytes; wanted 3360, as its shape"):
        cs.open_store(tmp_path / "x.pt")


def test_a_file_of_the_other_byte_order(tmp_path: Path) -> None:
    torch.save(ROWS, tmp_path / "whole.pt")
    with (
        zipfile.ZipFile(tmp_path / "whole.pt") as whole,
        zipfile.ZipFile(tmp_path / "x.pt", "w") as other,
    ):
        for info in whole.infolist():
            data = whole.read(info)
            if "/data/" in info.filename:
                data = ROWS.numpy().astype(">f8").tobytes()
            other.writestr(info.filename, b"big" if "byteorder" in info.filename else data)
    assert np.array_equal(rows_of(cs.open_store(tmp_path / "x.pt")), ROWS.numpy())


def test_a_model_beside_what_it_made(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", ROWS.numpy())
    torch.save(torch.nn.Linear(3, 3).state_dict(), tmp_path / "model.pt")
    assert cs.open_store(tmp_path).count == cs.open_set(tmp_path).rows.count == 60
    (tmp_path / "x.npy").unlink()
    assert cs.open_store(tmp_path).count == 3


def test_torch_is_not_imported(saved) -> None:
    path = saved(ROWS)
    code = f"import sys, clipsoid; clipsoid.Ellipsoid.fit({str(path)!r}); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "numpy" in done.stdout.split() and "torch" not in done.stdout.split()


def test_a_remote_file(bucket, tmp_path: Path) -> None:
    torch.save({"x": ROWS}, tmp_path / "x.pt")
    bucket.put_file(tmp_path / "x.pt")
    assert np.array_equal(rows_of(cs.open_store(bucket.url("x.pt"))), ROWS.numpy())


def test_files_in_memory_have_the_same_bytes(saved) -> None:
    # The folder within the zip is called as the file is, or "archive".
    data = io.BytesIO()
    torch.save(ROWS, data)
    path = saved(ROWS, "another name.pt")
    path.write_bytes(data.getvalue())
    assert np.array_equal(rows_of(cs.open_store(path)), ROWS.numpy())
