"""``clipsoid sweep``: what it writes and prints, and what it refuses."""

from __future__ import annotations

import json
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import polars as pl
import pytest

import clipsoid as cs

Pairs = tuple[np.ndarray, np.ndarray]

BOTH = ("--images", "image.npy", "--texts", "text.npy")


@pytest.fixture
def pairs(tmp_path: Path) -> Pairs:
    """Images and texts around centres of their own, in a file each and in one for both."""
    rng = np.random.default_rng(3)
    common = rng.normal(size=(120, 16))
    image, text = (
        (common + 0.8 * rng.normal(size=common.shape) + center).astype(np.float32)
        for center in (1.0, 0.8)
    )
    np.save(tmp_path / "image.npy", image)
    np.save(tmp_path / "text.npy", text)
    np.savez(tmp_path / "set.npz", image=image, text=text)
    return image, text


def files(folder: Path) -> set[Path]:
    return {path.relative_to(folder) for path in folder.rglob("*")}


def test_tables_hold_the_table_of_the_library(run, pairs, tmp_path):
    options = ("--shift", "text", "--temperature", "0.05", "--partition", "each")
    outcome = run("sweep", *BOTH, *options, "--out", "t.parquet", "--out", "t.csv")
    assert outcome.code == 0 and "120 of 120 rows" in outcome.err
    want = cs.loss_sweep(*pairs, shift="text", temperature=0.05, partition="each")
    assert pl.read_parquet(tmp_path / "t.parquet").equals(want.table)
    csv = pl.read_csv(tmp_path / "t.csv", schema=want.table.schema)
    assert csv.equals(want.table)
    made = json.loads(pl.read_parquet_metadata(tmp_path / "t.parquet")["clipsoid"])
    assert (made["format"], made["format_version"]) == ("clipsoid.sweep", 1)
    assert made["clipsoid_version"] == cs.__version__ and made["simd"] == want.options.simd_level
    assert (made["shift"], made["temperature"], made["partition"]) == ("text", 0.05, "each")
    assert (made["count"], made["dim"], made["dtype"]) == (120, 16, "float32")
    assert made["alphas"] == [*want.table["alpha"]] and made["is_normalized"] is False
    found = made["best_alpha"], made["refined_alpha"]
    assert found == (want.best_alpha, want.refined_alpha)


def test_an_empty_class_is_null_in_the_files(run, tmp_path):
    # Every image finds its text.
    np.save(tmp_path / "x.npy", np.eye(20, dtype=np.float32) + 0.1)
    outcome = run(
        "sweep", "--images", "x.npy", "--texts", "x.npy", "--out", "t.csv", "--out", "t.png"
    )
    assert outcome.code == 0 and "none" in outcome.out and "20 of 20 pairs" in outcome.out
    table = pl.read_csv(tmp_path / "t.csv", schema_overrides={"loss_misclassified": pl.Float64})
    assert table["loss_misclassified"].is_null().all() and len(table) == 41


def test_the_same_run_writes_the_same_bytes_over_itself(run, pairs, tmp_path):
    names = [f"t{suffix}" for suffix in (".parquet", ".csv", ".png", ".svg", ".html")]
    outs = [word for name in names for word in ("--out", name)]
    assert run("sweep", *BOTH, *outs, "--threads", 1, "--alphas", "-1:1:9").code == 0
    before = {name: (tmp_path / name).read_bytes() for name in names}
    # Files of the command's own are replaced.
    assert run("sweep", *BOTH, *outs, "--threads", 2, "--alphas", "-1:1:9").code == 0
    assert {name: (tmp_path / name).read_bytes() for name in names} == before
    assert before["t.png"].startswith(b"\x89PNG\r\n\x1a\n")
    width, height = (int.from_bytes(before["t.png"][at : at + 4], "big") for at in (16, 20))
    assert 1000 < width < 2000 and 1000 < height < 2000
    words = "".join(ElementTree.fromstring(before["t.svg"]).itertext())
    for title in ("Contrastive loss as the image centre moves", "Its parts", "Accuracy", "120"):
        assert title in words
    page = before["t.html"].decode()
    assert "<script src" not in page and 'src="http' not in page and "@import" not in page
    assert "Contrastive loss as the image centre moves" in page


def test_one_file_holds_both(run, pairs):
    npz = ("--images", "set.npz", "--texts", "set.npz", "--json", "--alphas", "0,0.5")
    apart = run("sweep", *BOTH, "--json", "--alphas", "0,0.5").json
    both = run("sweep", *npz, "--image-key", "image", "--text-key", "text").json
    assert both == apart
    # --key serves both where one of them has none of its own.
    assert run("sweep", *npz, "--key", "image", "--text-key", "text").json == apart
    same = run("sweep", *npz, "--key", "image").json
    assert [row["accuracy_image_to_text"] for row in same["table"]] == [1, 1]
    # The names of the members say which is which.
    assert run("sweep", *npz).json == apart
    assert run("sweep", "set.npz", *npz[4:]).json == apart


def test_json_holds_everything(run, pairs, tmp_path):
    outcome = run("sweep", *BOTH, "--out", "t.csv", "--json", "--quiet")
    want = cs.loss_sweep(*pairs)
    assert outcome.json["table"] == want.table.rows(named=True)
    assert outcome.json["out"] == ["t.csv"] and outcome.err == ""
    assert outcome.json["best_alpha"] == want.best_alpha
    assert outcome.json["refined_alpha"] == want.refined_alpha
    assert outcome.json["count"] == 120 and outcome.json["partition"] == "fixed"


def test_the_text_fits_a_terminal_and_marks_the_least(run, pairs):
    want = cs.loss_sweep(*pairs)
    lines = run("sweep", *BOTH).out.splitlines()
    assert max(map(len, lines)) <= 80
    (marked,) = (line for line in lines if line.endswith(" *"))
    assert float(marked.split()[0]) == want.best_alpha
    assert f"{want.table['loss'].min():.4f}" in marked
    body = lines[lines.index("-" * 78) + 1 :]
    shown = [float(line.split()[0]) for line in body[: body.index("-" * 78)]]
    assert shown == sorted(shown) and 0 in shown and (shown[0], shown[-1]) == (-1, 1)
    assert 11 <= len(shown) <= 13
    text = "\n".join(lines)
    for words in (f"{want.refined_alpha:.4f}", "120 x 16 features, float32, raw", "image centre"):
        assert words in text
    ends = run("sweep", *BOTH, "--alphas", "2,3").out
    assert "at an end of the grid" in ends and "at an end of the grid" not in text


@pytest.mark.parametrize(
    ("words", "alphas"),
    [
        (("--alphas", "-0.3:0.3:7"), [-0.3, -0.2, -0.1, 0.0, 0.1, 0.2, 0.3]),
        (("--alphas", "-.5,0,1e-1"), [-0.5, 0.0, 0.1]),
        (("--alphas=-1",), [-1.0]),
        (("--alphas", "1:-1:3"), [1.0, 0.0, -1.0]),
        ((), [round(-1 + i / 20, 2) for i in range(41)]),
    ],
)
def test_forms_of_alphas(run, pairs, words, alphas):
    assert run("sweep", *BOTH, "--json", *words).json["alphas"] == alphas


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--alphas", "1:2"), "'1:2' is neither START:STOP:COUNT nor numbers"),
        (("--alphas", "-1:1:1"), "COUNT is 1; wanted 2"),
        (("--alphas", "0:1:99999999999"), "COUNT is 99999999999"),
        (("--alphas", "0,,1"), "'0,,1' is neither"),
        (("--alphas", "0,nan"), "nan is not a finite number"),
        (("--alphas", "0:1e400:3"), "inf is not a finite number"),
        (("--temperature", "0.001"), "0.001 is too small; wanted 0.003"),
        (("--temperature", "-1"), "'-1' is not a number above 0"),
        (("--shift", "none"), "--shift"),
        (("--out", "t.txt"), "t.txt: the suffix is '.txt'; wanted .parquet or .csv"),
        (("--out", "table"), "table: the suffix is 'missing'"),
        (("--out", "t.csv", "--out", "./t.csv"), "--out: t.csv is named twice"),
    ],
)
def test_a_wrong_command_line_is_refused_before_any_work(run, tmp_path, words, message):
    # The files to be read are not even there.
    outcome = run("sweep", *BOTH, *words)
    assert outcome.code == 2 and message in outcome.err
    assert files(tmp_path) == set()


@pytest.mark.parametrize("name", ["t.parquet", "t.csv", "t.png", "t.svg", "t.html"])
def test_foreign_files_are_not_overwritten(run, pairs, tmp_path, name):
    foreign = {
        "t.parquet": lambda path: pl.DataFrame({"alpha": [1]}).write_parquet(path),
        "t.csv": lambda path: path.write_text("alpha,loss\n1,2\n"),
        "t.png": lambda path: path.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(60)),
        "t.svg": lambda path: path.write_text('<svg xmlns="http://www.w3.org/2000/svg"/>'),
        "t.html": lambda path: path.write_text('<p>"usermeta" of "clipsoid"</p>'),
    }
    foreign[name](tmp_path / name)
    before = (tmp_path / name).read_bytes()
    outcome = run("sweep", *BOTH, "--out", "first.csv", "--out", name)
    assert outcome.code == 4 and f"{name}: is there already" in outcome.err
    assert "rows/s" not in outcome.err and not (tmp_path / "first.csv").exists()
    assert (tmp_path / name).read_bytes() == before
    # A name says the format: a table of ours is no chart.
    assert run("sweep", *BOTH, "--out", f"no/{name}").code == 4
    (tmp_path / f"folder_{name}").mkdir()
    assert run("sweep", *BOTH, "--out", f"folder_{name}").code == 4


def test_shapes_and_rows_at_fault(run, pairs, tmp_path):
    image, text = pairs
    np.save(tmp_path / "short.npy", text[:100])
    np.save(tmp_path / "narrow.npy", text[:, :7])
    (tmp_path / "parts").mkdir()
    for i, part in enumerate(np.split(text.copy(), [50])):
        part[9] = [1, 0][i]
        np.save(tmp_path / "parts" / f"{i}.npy", part)
    np.save(tmp_path / "one.npy", image[:1])
    before = files(tmp_path)
    for images, texts, message in (
        ("image.npy", "short.npy", "image has 120 rows, text has 100; wanted pairs"),
        ("image.npy", "narrow.npy", "image has 16 features, text has 7"),
        ("image.npy", "parts", "parts/1.npy: row 9 has zero norm"),
        ("one.npy", "one.npy", "one.npy: found 1 rows, wanted 2 or more"),
        ("image.npy", "nowhere.npy", "nowhere.npy"),
    ):
        outcome = run("sweep", "--images", images, "--texts", texts, "--out", "t.csv")
        assert outcome.code == 3 and message in outcome.err, outcome.err
    dtype = run("sweep", *BOTH, "--dtype", "float16", "--out", "t.csv")
    assert dtype.code == 3 and "float32; wanted float16" in dtype.err
    assert files(tmp_path) == before


def without(module: str, tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command line where a module is not installed."""
    code = (
        f"import sys; sys.modules[{module!r}] = None; from clipsoid.cli import main; "
        f"sys.exit(main({list(arguments)!r}))"
    )
    return subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )


@pytest.mark.parametrize(
    ("module", "package"), [("altair", "altair"), ("vl_convert", "vl-convert-python")]
)
def test_charts_need_an_extra_and_tables_do_not(pairs, tmp_path, module, package):
    before = files(tmp_path)
    for chart in ("t.png", "t.svg", "t.html"):
        done = without(module, tmp_path, "sweep", *BOTH, "--out", "t.csv", "--out", chart)
        assert done.returncode == 4 and "rows/s" not in done.stderr
        message = f"{chart}: cannot be written: figures need {package}, not installed here: pip "
        assert message + 'install "clipsoid[report]"' in done.stderr
    assert files(tmp_path) == before
    assert without(module, tmp_path, "sweep", *BOTH, "--out", "t.csv").returncode == 0


def test_a_full_disk_leaves_none_of_the_files(pairs, tmp_path):
    def limited() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    before = files(tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", "clipsoid", "sweep", *BOTH, "--out", "t.csv", "--out", "t.svg"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        preexec_fn=limited,
    )
    assert done.returncode == 4 and "t.svg: cannot be written" in done.stderr, done.stderr
    assert files(tmp_path) == before


def test_ctrl_c_leaves_nothing(tmp_path):
    # Enough pairs that a run takes a minute.
    rows = np.random.default_rng(0).normal(size=(60_000, 16)).astype(np.float32)
    np.save(tmp_path / "x.npy", rows)
    command = ["sweep", "--images", "x.npy", "--texts", "x.npy", "--out", "t.csv", "--out", "t.svg"]
    process = subprocess.Popen(
        [sys.executable, "-m", "clipsoid", *command],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 60
    while "x.npy" not in Path(f"/proc/{process.pid}/maps").read_text():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    sent = time.monotonic()
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130 and "interrupted" in err and "Traceback" not in err
    assert time.monotonic() - sent < 5
    assert files(tmp_path) == {Path("x.npy")}


def test_figure_6_of_500_real_pairs(run, real_data):
    path = real_data("coco500_clip_vitb16.npz")
    both = ("--images", path, "--image-key", "image", "--texts", path, "--text-key", "text")
    found = run("sweep", *both, "--out", "figure.svg", "--json").json
    assert found["best_alpha"] == -0.1 and abs(found["refined_alpha"]) < 0.15
    assert found["count"] == 500 and found["is_normalized"] is True
