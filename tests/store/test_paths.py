from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from clipsoid.errors import StoreError
from clipsoid.store import open_set, open_store
from clipsoid.store.opening import SUFFIXES
from clipsoid.store.paths import expand_braces, find_files


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in [
        "img_emb/img_emb_00.npy",
        "img_emb/img_emb_01.npy",
        "img_emb/img_emb_10.npy",
        "img_emb/deep/er/x.npy",
        "img_emb/stats.json",
        "img_emb/.hidden.npy",
        "img_emb/.cache/y.npy",
        "metadata/metadata_00.parquet",
        "notes.txt",
    ]:
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    return tmp_path


def names(path: object) -> list[str]:
    return [name for _, name in find_files(path, SUFFIXES)]


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("x.arrow", r"; .*pl\.scan_ipc\('x\.arrow'\)\.sink_parquet\('x\.parquet'\)$"),
        ("x.feather", r"; .*pl\.scan_ipc\('x\.feather'\)"),
        ("x.h5", r"$"),
    ],
)
def test_formats_that_are_not_read_come_with_advice(tmp_path: Path, name: str, advice: str):
    file = tmp_path / "set" / name
    file.parent.mkdir()
    file.touch()
    wanted = r"wanted \.npy, \.npz, \.parquet, \.safetensors, \.pt, \.pth"
    for opened in (open_store, open_set):
        with pytest.raises(
            StoreError, match=rf"suffix is '{file.suffix.lower()}'; {wanted}{advice}"
        ):
            opened(file)
        with pytest.raises(StoreError, match=rf"set: holds 1 \.\w+; {wanted} files{advice}"):
            opened(file.parent)


def test_a_link_to_a_file_of_the_same_set(tree: Path):
    emb = tree / "img_emb"
    np.save(emb / "img_emb_00.npy", np.ones((3, 2)))
    for name in NUMBERED[1:]:
        (emb / name).unlink()
    (emb / "deep/er/x.npy").unlink()
    (emb / "again.npy").symlink_to("img_emb_00.npy")
    named = r"img_emb_00\.npy: is the same file as .*again\.npy, by a symbolic link; wanted every"
    for opened in (open_store, open_set):
        with pytest.raises(StoreError, match=named):
            opened(emb)
    # The name through another folder, of which nothing in the path of the file tells.
    (tree / "other").symlink_to(emb)
    with pytest.raises(StoreError, match=r"other/img_emb_00\.npy: is the same file as .*img_emb/i"):
        open_store([emb / "img_emb_00.npy", tree / "other/img_emb_00.npy"])
    # One name by itself is a set, and a hard link is a file of its own.
    assert open_store(emb / "again.npy").count == 3
    (emb / "again.npy").unlink()
    (emb / "again.npy").hardlink_to(emb / "img_emb_00.npy")
    assert open_store(emb).count == open_set(emb).image.count == 6


NUMBERED = ["img_emb_00.npy", "img_emb_01.npy", "img_emb_10.npy"]


def test_folder_is_recursive_sorted_and_passes_over_other_files(tree: Path):
    assert names(tree / "img_emb") == ["deep/er/x.npy", *NUMBERED]
    assert names(str(tree / "img_emb") + "/") == ["deep/er/x.npy", *NUMBERED]
    files = [file for file, _ in find_files(tree / "img_emb", SUFFIXES)]
    assert files[0] == tree / "img_emb/deep/er/x.npy"


def test_folder_of_several_formats(tree: Path):
    with pytest.raises(StoreError, match=r"several formats \(1 \.json, 4 \.npy, 1 \.parquet, 1 .t"):
        find_files(tree, SUFFIXES)


def test_folder_without_embeddings(tree: Path):
    (tree / "none").mkdir()
    with pytest.raises(StoreError, match=r"none: holds no files; wanted \.npy, \.npz"):
        find_files(tree / "none", SUFFIXES)
    (tree / "none/a.txt").touch()
    (tree / "none/b").touch()
    with pytest.raises(StoreError, match=r"holds 1 without suffix, 1 \.txt; wanted \.npy"):
        find_files(tree / "none", SUFFIXES)


def test_linked_folders_are_read_once(tree: Path):
    (tree / "set").mkdir()
    (tree / "set/a").symlink_to(tree / "img_emb")
    (tree / "set/loop").symlink_to(tree / "set")
    assert names(tree / "set") == ["a/deep/er/x.npy", *(f"a/{name}" for name in NUMBERED)]


def test_file(tree: Path, monkeypatch: pytest.MonkeyPatch):
    assert names(tree / "img_emb/img_emb_00.npy") == ["img_emb_00.npy"]
    monkeypatch.setenv("HOME", str(tree))
    assert names("~/img_emb/img_emb_00.npy") == ["img_emb_00.npy"]
    monkeypatch.chdir(tree / "img_emb")
    assert names("img_emb_00.npy") == ["img_emb_00.npy"]
    assert names("../img_emb/img_emb_0?.npy") == NUMBERED[:2]
    assert names(".") == ["deep/er/x.npy", *NUMBERED]
    with pytest.raises(StoreError, match=r"img_emb_07\.npy: found no such file or folder"):
        find_files("img_emb_07.npy", SUFFIXES)


@pytest.mark.parametrize(
    ("pattern", "expanded"),
    [
        ("x{00..03}y", ["x00y", "x01y", "x02y", "x03y"]),
        ("{8..11}", ["8", "9", "10", "11"]),
        ("{08..11}", ["08", "09", "10", "11"]),
        ("{0..010}", [f"{i:03d}" for i in range(11)]),
        ("{2..0}", ["2", "1", "0"]),
        ("{a,b,}c", ["ac", "bc", "c"]),
        ("{a,b}{0..1}", ["a0", "a1", "b0", "b1"]),
        ("{}{x}{1..}", ["{}{x}{1..}"]),
        ("{x}{1..2}", ["{x}1", "{x}2"]),
        ("}{", ["}{"]),
        ("plain", ["plain"]),
    ],
)
def test_expand_braces(pattern: str, expanded: list[str]):
    assert list(expand_braces(pattern)) == expanded


def test_brace_pattern(tree: Path):
    pattern = str(tree / "img_emb/img_emb_{00..01}.npy")
    assert names(pattern) == NUMBERED[:2]
    assert names(str(tree / "img_emb/img_emb_{10,00}.npy")) == [NUMBERED[2], NUMBERED[0]]
    assert names(str(tree / "{img_emb,img_emb/deep/er}/*.npy")) == [
        *(f"img_emb/{name}" for name in NUMBERED),
        "img_emb/deep/er/x.npy",
    ]
    with pytest.raises(StoreError, match=r"img_emb_02\.npy: found no such file"):
        find_files(str(tree / "img_emb/img_emb_{00..10}.npy"), SUFFIXES)


def test_a_huge_range_fails_at_its_first_missing_member(tree: Path):
    with pytest.raises(StoreError, match=r"img_emb_000000000000\.npy: found no such file"):
        find_files(str(tree / "img_emb_{000000000000..999999999999}.npy"), SUFFIXES)


def test_glob_pattern(tree: Path):
    assert names(str(tree / "img_emb/*.npy")) == NUMBERED
    assert names(str(tree / "img_emb/*")) == NUMBERED
    assert names(str(tree / "img_emb/img_emb_[01]1.npy")) == [NUMBERED[1]]
    assert names(str(tree / "**/*.npy")) == [
        "img_emb/deep/er/x.npy",
        *(f"img_emb/{name}" for name in NUMBERED),
    ]
    with pytest.raises(StoreError, match=r"matches no files; wanted"):
        find_files(str(tree / "*.npz"), SUFFIXES)
    with pytest.raises(StoreError, match=r"matches several formats"):
        find_files(str(tree / "*/*"), SUFFIXES)


def test_special_characters_in_a_name_that_exists(tree: Path):
    for name in ("a{0..1}.npy", "b[1].npy", "c*.npy"):
        (tree / name).touch()
        assert names(tree / name) == [name]


def test_list(tree: Path):
    found = names([tree / "img_emb/img_emb_10.npy", str(tree / "img_emb/deep")])
    assert found == ["img_emb_10.npy", "deep/er/x.npy"]
    found = names((tree / "metadata", tree / "img_emb/img_emb_00.npy"))
    assert found == ["metadata/metadata_00.parquet", "img_emb/img_emb_00.npy"]
    with pytest.raises(StoreError, match=r"img_emb_00\.npy: is listed twice"):
        find_files([tree / "img_emb", tree / "img_emb/img_emb_00.npy"], SUFFIXES)
    with pytest.raises(StoreError, match="the list of paths is empty"):
        find_files([], SUFFIXES)


def test_what_is_no_local_path(tree: Path):
    with pytest.raises(StoreError, match=r"ftp://h/x\.npy: the scheme is ftp://; wanted a local"):
        find_files("ftp://h/x.npy", SUFFIXES)
    with pytest.raises(StoreError, match=r"s3://b: is s3, but .*img_emb is local; wanted one"):
        find_files([tree / "img_emb", "s3://b/x.npy"], SUFFIXES)
    with pytest.raises(StoreError, match="a path is ''"):
        find_files("", SUFFIXES)
    with pytest.raises(StoreError, match=r"notes\.txt: the suffix is '\.txt'; wanted \.npy, \.npz"):
        open_store(tree / "notes.txt")
