"""Reader of what torch.save writes: every layout of a tensor, and nothing that is not one."""

from __future__ import annotations

import os
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

import clipsoid as cs
from clipsoid.errors import DTypeError, MismatchError, ShapeError, StoreError
from clipsoid.store import open_store
from clipsoid.store.mapped import MappedShard
from store.makers import COUNTS, DTYPES, assert_reads, bits, numbers, run


def tensor(rows: np.ndarray, dtype: str) -> torch.Tensor:
    """The same bits: torch has bfloat16, which numpy has not."""
    return torch.from_numpy(rows.view(f"i{rows.itemsize}").copy()).view(getattr(torch, dtype))


def members(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {info.filename: archive.read(info) for info in archive.infolist()}


def rewrite(path: Path, changed: dict[str, bytes], **options: int) -> None:
    """Write an archive anew with other members, stored as torch does."""
    contents = members(path) | changed
    with zipfile.ZipFile(path, "w", **options) as archive:
        for name, data in contents.items():
            archive.writestr(name, data)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "x.pt"


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_bit(path: Path, way: str, dtype: str, count: int):
    rows = bits(count, 5, dtype)
    torch.save(tensor(rows, dtype), path)
    assert_reads(path, rows, dtype=dtype)
    shard = open_store(path).shards[0]
    assert isinstance(shard, MappedShard)
    assert shard.in_place


@pytest.mark.parametrize("dtype", DTYPES)
def test_columns_that_are_contiguous(path: Path, way: str, dtype: str):
    rows = bits(31, 5, dtype)
    torch.save(tensor(np.ascontiguousarray(rows.T), dtype).T, path)
    assert_reads(path, rows)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("transposed", [False, True])
def test_the_other_byte_order(path: Path, dtype: str, transposed: bool):
    rows = bits(31, 5, dtype)
    # What a big-endian machine writes: swapped elements, and a word that says so.
    swapped = tensor(rows.T.copy() if transposed else rows, dtype)
    torch.save(swapped.T if transposed else swapped, path)
    contents = members(path)
    data = np.frombuffer(contents["x/data/0"], rows.dtype).byteswap().tobytes()
    rewrite(path, {"x/byteorder": b"big", "x/data/0": data})
    assert_reads(path, rows)
    rewrite(path, {"x/byteorder": b"odd"})
    with pytest.raises(StoreError, match=r"x\.pt: the byte order is 'odd'; wanted 'little' or"):
        open_store(path)


def test_files_without_a_word_of_byte_order_are_little_endian(path: Path):
    rows = bits(7, 5, "float32")
    torch.save(tensor(rows, "float32"), path)
    contents = members(path)
    del contents["x/byteorder"]
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in contents.items():
            archive.writestr(name, data)
    assert_reads(path, rows)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_containers_and_keys(path: Path, protocol: int):
    image, text = bits(9, 4, "float32"), bits(9, 4, "float16", seed=1)
    pair = {"image": tensor(image, "float32"), "text": tensor(text, "float16"), "n": 3, "m": ["x"]}
    for held, keys in [(pair, ("image", "text")), ([*pair.values()], ("0", "1"))]:
        torch.save(held, path, pickle_protocol=protocol)
        assert_reads(path, image, key=keys[0])
        assert_reads(path, text, key=keys[1])
        with pytest.raises(
            StoreError, match=rf"x\.pt: holds 2 tensors \({keys[0]}, {keys[1]}\); wanted one"
        ):
            open_store(path)
        with pytest.raises(StoreError, match=rf"no tensor 'z'; found {keys[0]}, {keys[1]}"):
            open_store(path, key="z")
    torch.save({"emb": pair["image"], "paths": ["a", "b"]}, path, pickle_protocol=protocol)
    assert_reads(path, image)
    sides = [open_store(path, key="emb"), open_store(path)]
    assert sides[0].shards[0].fingerprint() == sides[1].shards[0].fingerprint()
    torch.save(pair["image"], path)
    with pytest.raises(StoreError, match="holds one tensor and no keys; found key='emb'"):
        open_store(path, key="emb")


def test_pairs_are_recognised_by_their_names(path: Path):
    image, text = numbers(30, 4, "float32"), numbers(30, 4, "float32", seed=1)
    held = {"image_features": tensor(image, "float32"), "text_features": tensor(text, "float32")}
    torch.save(held, path)
    found = cs.open_set(path)
    assert (found.kind, found.image.count, found.text.count) == ("pt", 30, 30)
    (batch,) = found.text.batches()
    assert batch.rows.tobytes() == text.tobytes()


def test_slices_lie_at_an_offset(path: Path, way: str):
    rows = bits(100, 6, "float32")
    whole = tensor(rows, "float32")
    torch.save({"all": whole, "some": whole[30:60], "one": whole[99:, 2:5]}, path)
    assert_reads(path, rows, key="all")
    assert_reads(path, rows[30:60], key="some")
    assert_reads(path, rows[99:, 2:5], key="one")
    for view, strides in [
        (whole[:, :3], r"\(6, 1\) for shape \(100, 3\)"),
        (whole[::2], r"\(12, 1\) for shape \(50, 6\)"),
        (whole[:1].expand(4, 6), r"\(0, 1\) for shape \(4, 6\)"),
        (whole.T[::2], r"\(2, 6\) for shape \(3, 100\)"),
    ]:
        torch.save(view, path)
        with pytest.raises(
            StoreError, match=rf"x\.pt: strides are {strides}; wanted .*tensor\.contiguous\(\)"
        ):
            open_store(path)
        torch.save(view.contiguous(), path)
        assert_reads(path, view.numpy().copy())


def test_parameters_and_tensors_with_gradients(path: Path):
    rows = numbers(8, 3, "float32")
    torch.save(torch.nn.Parameter(tensor(rows, "float32")), path)
    assert_reads(path, rows)
    torch.save(tensor(rows, "float32").requires_grad_(), path)
    assert_reads(path, rows)
    layer = torch.nn.Linear(3, 8, bias=False)
    torch.save(layer.state_dict(), path)
    assert_reads(path, layer.weight.detach().numpy(), key="weight")


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".PT"])
def test_the_same_scores_as_of_npy(tmp_path: Path, suffix: str):
    rows = numbers(300, 8, "float16")
    parts = np.split(rows, [100, 150])
    for i, part in enumerate(parts):
        torch.save(tensor(part, "float16"), tmp_path / f"x_{i}{suffix}")
        np.save(tmp_path / f"x_{i}.npy", part)
    stores = [open_store(str(tmp_path / f"*{kind}")) for kind in (suffix, ".npy")]
    fits = [cs.Ellipsoid.fit(store) for store in stores]
    assert np.array_equal(fits[0].mean, fits[1].mean)
    assert np.array_equal(fits[0].conformity(stores[0]), fits[1].conformity(stores[1]))
    frames = [cs.scan(str(tmp_path / f"*{kind}")).collect() for kind in (suffix, ".npy")]
    assert frames[0].height == 300
    assert frames[0]["embedding"].to_list() == frames[1]["embedding"].to_list()


def test_shards_must_agree(tmp_path: Path):
    torch.save(torch.ones(3, 4), tmp_path / "a.pt")
    torch.save(torch.ones(3, 5), tmp_path / "b.pt")
    with pytest.raises(MismatchError, match=r"b\.pt: rows have 5 .*a\.pt have 4"):
        open_store(tmp_path)


X = torch.ones(10, 4)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: X.long(), DTypeError, "elements are int64; wanted float16, bfloat16, float32"),
        (lambda: X.cfloat(), DTypeError, "elements are complex64"),
        (lambda: X.to(torch.float8_e4m3fn), DTypeError, "elements are float8_e4m3fn"),
        (lambda: X.to(torch.uint16), DTypeError, "elements are uint16"),
        (lambda: X[0], ShapeError, r"the array has shape \(4,\); wanted \(n, d\)"),
        (lambda: X.to_sparse(), StoreError, "holds a sparse tensor; wanted a tensor, or a dict or"),
        (
            lambda: torch.quantize_per_tensor(X, 0.1, 1, torch.qint8),
            StoreError,
            "holds a quantised tensor",
        ),
        (lambda: torch._neg_view(X), StoreError, r"negated .*tensor\.resolve_neg\(\)"),
        (lambda: X.to("meta"), StoreError, "holds a tensor without data"),
        (lambda: torch.nn.Linear(3, 4), StoreError, r"holds torch\.nn\.modules\.linear\.Linear;"),
        (lambda: {"x": X.numpy()}, StoreError, r"holds numpy\._core\.multiarray\._reconstruct;"),
        (lambda: X.untyped_storage(), StoreError, "holds a storage; wanted a tensor"),
        (lambda: torch.float32, StoreError, r"holds torch\.float32; wanted a tensor"),
        (lambda: {}, StoreError, "holds no tensors by name; found nothing"),
        (
            lambda: {"epoch": 3, "state_dict": {"w": X}, "rate": 0.1, "a": None, "b": ""},
            StoreError,
            r"found 'epoch' \(int\), 'state_dict' \(dict of 1\), .* and 1 more; wanted a tensor",
        ),
        (
            lambda: {f"layers.{i}.weight": X for i in range(300)},
            StoreError,
            r"holds 300 tensors: 'layers\.0\.weight' \(10 x 4\), .* and 296 more; wanted at most "
            r"64 \(these look like the weights of a model\)",
        ),
        (lambda: [X] * 100, StoreError, r"holds 100 tensors: .*64 \(torch\.cat joins batches\)"),
        (lambda: "a" * (1 << 26), StoreError, "data.pkl' has .* bytes; wanted at most 67108864"),
        (lambda: [*range(2000)] * 600, StoreError, "holds more than 1048576 objects"),
    ],
)
def test_what_is_no_matrix_is_named(path: Path, make, error, message: str):
    torch.save(make(), path)
    for opened in (open_store, cs.open_set):
        with pytest.raises(error, match=rf"x\.pt(: |').*{message}"):
            opened(path)


def test_other_files_of_torch(path: Path):
    torch.save(X, path, _use_new_zipfile_serialization=False)
    with pytest.raises(
        StoreError, match=r"x\.pt: is a pickle, .*before 1\.6; .*torch\.save\(torch"
    ):
        open_store(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x/data.pkl", b"\x80\x02}.")
        archive.writestr("x/constants.pkl", b"\x80\x02).")
    with pytest.raises(StoreError, match=r"x\.pt: is a TorchScript archive, which holds a program"):
        open_store(path)
    np.savez(path.with_suffix(".npz"), x=X.numpy())
    path.write_bytes(path.with_suffix(".npz").read_bytes())
    with pytest.raises(StoreError, match=r"x\.pt: is a zip file without data\.pkl"):
        open_store(path)
    torch.save(X, path)
    rewrite(path, {}, compression=zipfile.ZIP_DEFLATED)
    with pytest.raises(StoreError, match=r"'x/data\.pkl' is compressed; wanted it plain"):
        open_store(path)


def hostile(command: tuple[object, ...]) -> bytes:
    class Evil:
        def __reduce__(self):
            return command

    return pickle.dumps({"emb": Evil()}, protocol=2)


def test_a_pickle_is_never_run(path: Path):
    torch.save(X, path)
    mark = path.with_name("mark")
    for command, name in [
        ((os.system, (f"touch {mark}",)), "posix.system"),
        ((eval, (f"open({str(mark)!r}, 'w')",)), "__builtin__.eval"),
        ((Path.touch, (mark,)), "pathlib.Path.touch|__builtin__.getattr"),
    ]:
        rewrite(path, {"x/data.pkl": hostile(command)})
        with pytest.raises(StoreError, match=rf"x\.pt: holds ({name}); wanted a tensor"):
            open_store(path)
    for name in (b"ctorch\nload\n.", b"ctorch.serialization\nload\n.", b"cos\nsystem\n."):
        rewrite(path, {"x/data.pkl": name})
        with pytest.raises(StoreError, match=r"x\.pt: holds (torch|os)\..*; wanted a tensor"):
            open_store(path)
    assert not mark.exists()


HUGE = b"\x8b\x00\x10\x00\x00" + b"\x7f" * 4096


def described(
    *,
    key: bytes = b"U\x010",
    length: bytes = b"K\x28",
    offset: bytes = b"K\x00",
    rows: bytes = b"K\x0a",
    stride: bytes = b"K\x04K\x01\x86",
    then: bytes = b"",
) -> bytes:
    """The pickle of X, or of what it is not: instructions in the place of its numbers."""
    storage = b"(U\x07storagectorch\nFloatStorage\n" + key + b"U\x03cpu" + length + b"tQ"
    size = rows + b"K\x04\x86"
    made = b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + offset + size + stride + b"\x89NtR"
    return b"\x80\x02" + made + then + b"."


def test_the_pickle_that_is_changed_below_is_good(path: Path):
    torch.save(X, path)
    rewrite(path, {"x/data.pkl": described()})
    assert_reads(path, X.numpy())


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "damaged"),
        (b"\x80\x02", "damaged"),
        (b"not a pickle", "damaged"),
        (b"I" + b"9" * 5000 + b"\n.", "damaged"),
        # The memo would have 4 GiB; a key would be hashed by recursion, down to the stack's end.
        (b"\x80\x02}r\x00\x00\x00\x10.", "damaged"),
        (b"\x80\x02})" + b"\x85" * 200_000 + b"K\x01s.", "more than .* 32768 tuples"),
        (b"\x80\x05\x96" + (1 << 40).to_bytes(8, "little") + b".", "damaged"),
        (b"\x80\x05\x8d" + (1 << 40).to_bytes(8, "little") + b".", "damaged"),
        (b"\x80\x02\x82\x01.", "copyreg"),
        # A dict and a tensor that are changed after they were made.
        (b"\x80\x02ccollections\nOrderedDict\n)R}U\x05itemsK\x05sb.", "found nothing"),
        (described(then=b"}U\x05shapeK\x01sb"), "damaged"),
        (b"\x80\x02(U\x07storageU\x01xU\x010U\x03cpuK\x28tQ.", "damaged"),
        (described(length=HUGE), "a storage has no valid name or length"),
        (described(key=b"K\x00"), "a storage has no valid name or length"),
        (described(offset=b"J\xff\xff\xff\xff"), "a tensor has no valid shape"),
        (described(rows=b"G?\xf0\0\0\0\0\0\0"), "a tensor has no valid shape"),
        (described(rows=HUGE), "a tensor has no valid shape"),
        (described(stride=b"K\x04\x85"), "a tensor has no valid shape"),
        (described(offset=b"K\x01"), "rows end at element 41; wanted at most the 40 of 'x/data/0'"),
        (described(rows=b"K\x0b"), "rows end at element 44; wanted at most the 40"),
        (described(key=b"U\x017"), "its elements are missing; wanted member 'data/7'"),
        (described(length=b"K\x29"), "'x/data/0' has 160 bytes; wanted 164"),
    ],
)
def test_pickles_that_lie(path: Path, data: bytes, message: str):
    torch.save(X, path)
    rewrite(path, {"x/data.pkl": data})
    for opened in (open_store, cs.open_set):
        with pytest.raises(StoreError, match=rf"x\.pt: .*{message}"):
            opened(path)


def test_truncated(path: Path):
    torch.save(X, path)
    whole = path.read_bytes()
    for kept in (0, 1, 30, 200, len(whole) // 2, len(whole) - 30, len(whole) - 1):
        path.write_bytes(whole[:kept])
        with pytest.raises(
            StoreError, match=r"x\.pt: is damaged or truncated, or no torch\.save \(zip\) file"
        ):
            open_store(path)


@pytest.mark.parametrize("transposed", [False, True])
def test_a_bit_flip_shows_in_the_checksum(path: Path, way: str, transposed: bool):
    rows = bits(500, 4, "float32")
    torch.save(tensor(rows, "float32").T if transposed else tensor(rows, "float32"), path)
    content = bytearray(path.read_bytes())
    content[content.index(rows[250].tobytes())] ^= 1
    path.write_bytes(content)
    with pytest.raises(StoreError, match=r"x\.pt: .*is damaged: found CRC-32"):
        list(open_store(path).batches(1000))
    content = bytearray(path.read_bytes())
    content[content.index(b"_rebuild")] ^= 1
    path.write_bytes(content)
    with pytest.raises(StoreError, match=r"member 'x/data\.pkl' is damaged: its CRC-32"):
        open_store(path)


def test_checksums_that_torch_did_not_take(path: Path):
    rows = bits(50, 4, "float32")
    torch.serialization.set_crc32_options(False)
    try:
        torch.save(tensor(rows, "float32"), path)
    finally:
        torch.serialization.set_crc32_options(True)
    assert_reads(path, rows)


def test_torch_is_never_imported(path: Path):
    torch.save({"emb": X}, path)
    done = run(
        """
        import sys
        import clipsoid as cs
        found = cs.open_set(sys.argv[1])
        cs.Ellipsoid.fit(found.rows)
        print(sorted({"polars", "pyarrow", "safetensors", "torch"} & set(sys.modules)))
        """,
        path,
    )
    assert (done.stdout, done.returncode) == ("[]\n", 0), done.stderr


def test_a_model_beside_what_it_made(tmp_path: Path):
    np.save(tmp_path / "x.npy", np.ones((60, 7), np.float32))
    torch.save({"weight": torch.ones(3, 3)}, tmp_path / "model.pt")
    assert cs.open_store(tmp_path).count == cs.open_set(tmp_path).rows.count == 60
    (tmp_path / "x.npy").unlink()
    assert cs.open_store(tmp_path).count == 3
