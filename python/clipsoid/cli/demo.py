"""``clipsoid demo``: the whole way on built-in data, beside the figures of the paper."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clipsoid._paper import NEITHER, PAPER
from clipsoid.cli import options as shared

if TYPE_CHECKING:
    from clipsoid.synthetic import DoubleEllipsoid

#: Figures that are shown, as `analyze` calls them.
SHOWN = (
    "center_ratio",
    "shell_mean",
    "shell_variance",
    "shell_rms",
    "shell_relative_error",
    "dominance_ratio",
    "mean_conformity",
    "std_conformity",
    "pearson",
    "slope",
    "inverse_slope",
)

#: Those of them that are shown in percent: four decimals of the fraction say little.
PERCENT = ("shell_relative_error",)

SHARDS = 2

#: Folders of the set, in clip-retrieval's layout, by modality.
FOLDERS = {"image": "img_emb", "text": "text_emb"}


def add_parser(commands: Any) -> None:
    """Add the command."""
    parser = shared.command(
        commands, "demo", run, "make synthetic pairs, fit, score, and compare with the paper"
    )
    parser.add_argument("--out", default="demo", metavar="DIR", help="folder (default: demo)")
    parser.add_argument(
        "--rows", type=shared.natural, default=20_000, metavar="N", help="pairs (20000)"
    )
    parser.add_argument(
        "--seed", type=shared.natural, default=0, help="seed of the synthetic data (0)"
    )
    shared.add_common(parser)


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    from clipsoid._output import check_local
    from clipsoid.cli.output import show
    from clipsoid.synthetic import double_ellipsoid

    if options.rows < SHARDS:
        options.usage(f"--rows: {options.rows} is less than {SHARDS}")
    check_local(options.out)
    out = Path(options.out)
    _check_folder(out)
    start = time.perf_counter()
    data = double_ellipsoid(options.rows, seed=options.seed)
    made = time.perf_counter() - start
    _write_set(out / "set", data, options.seed)
    results = {modality: _one(out, modality, options) for modality in FOLDERS}
    result = {"rows": options.rows, "dim": data.image.shape[1], "seed": options.seed}
    text = _table(result, results, out, made)
    paper = {name: PAPER.get(name, NEITHER) for name in SHOWN}
    show(options, {**result, **results, "paper": paper}, text)


def _names() -> Iterator[str]:
    """Return the files that the demo makes."""
    for modality, folder in FOLDERS.items():
        yield f"{modality}.ellipsoid"
        yield from _score_names(modality)
        for i in range(SHARDS):
            yield f"set/{folder}/{folder}_{i}.npy"
    for i in range(SHARDS):
        yield f"set/metadata/metadata_{i}.parquet"


def _score_names(modality: str) -> list[str]:
    """Return the files in the folder of scores of a modality."""
    from clipsoid.store.score_parts import journal_name

    shards = [f"{FOLDERS[modality]}_{i}.parquet" for i in range(SHARDS)]
    return [f"scores/{modality}/{name}" for name in (journal_name((0, 1)), *shards)]


def _check_folder(out: Path) -> None:
    """Refuse a folder with anything in it that the demo did not make; it deletes nothing."""
    from clipsoid.errors import OutputError

    if out.exists() and not out.is_dir():
        raise OutputError(f"{out}: is a file; wanted a folder: --out DIR")
    ours = {out / name for name in _names()}
    for path in sorted(out.rglob("*")):
        if path.is_file() and path not in ours:
            raise OutputError(
                f"{out}: holds {path.relative_to(out)}, which is not the demo's; try --out DIR"
            )


def _write_set(folder: Path, data: DoubleEllipsoid, seed: int) -> None:
    """Write the pairs as clip-retrieval does: images, texts and metadata, row by row."""
    import numpy as np
    import polars as pl

    from clipsoid._output import as_output_errors, written_beside

    def place(kind: str, i: int, suffix: str) -> Path:
        path = folder / kind / f"{kind}_{i}{suffix}"
        with as_output_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        return path

    uids = [
        blake2b(f"{seed} {row}".encode(), digest_size=16).hexdigest()
        for row in range(len(data.topic))
    ]
    metadata = pl.DataFrame({"uid": uids, "topic": data.topic})
    first = 0
    for i, topics in enumerate(np.array_split(data.topic, SHARDS)):
        rows = slice(first, first + len(topics))
        for modality, kind in FOLDERS.items():
            with written_beside(place(kind, i, ".npy")) as temporary, temporary.open("wb") as file:
                np.save(file, getattr(data, modality)[rows])
        with written_beside(place("metadata", i, ".parquet")) as temporary:
            metadata[rows].write_parquet(temporary)
        first += len(topics)


def _one(out: Path, modality: str, options: argparse.Namespace) -> dict[str, Any]:
    """Ellipsoid and scores of one modality."""
    import numpy as np
    import polars as pl

    from clipsoid._output import remove
    from clipsoid.cli.score import how_made
    from clipsoid.ellipsoid import Ellipsoid
    from clipsoid.store import open_store
    from clipsoid.store.scores import write_scores

    start = time.perf_counter()
    store = open_store(out / "set" / FOLDERS[modality])
    e = Ellipsoid.fit(store, n_threads=options.threads)
    fitted = time.perf_counter()
    calibration = e.calibrate(store, n_threads=options.threads)
    shell = e.shell(store, n_threads=options.threads)
    e.save(out / f"{modality}.ellipsoid")
    # The shards are new: earlier scores of the demo are not gone on with.
    for name in _score_names(modality):
        remove(out / name)
    before = time.perf_counter()
    written = write_scores(
        store,
        e.reference(member=True),
        out / "scores" / modality,
        made=how_made(e, store, member=True, on_invalid="error"),
        n_threads=options.threads,
    )
    scored = time.perf_counter()

    odd = e.off_diagonal_dominance / e.off_diagonal_dominance_null
    # The paths are names, not patterns, whatever is in --out.
    scores = pl.read_parquet(list(written.files), glob=False, hive_partitioning=False)
    # Sums of float32 would show in the standard deviation.
    conformity = scores["conformity"].to_numpy().astype(np.float64)
    figures = (
        e.center_ratio,
        shell.mean,
        shell.variance,
        shell.rms,
        shell.relative_error,
        float(np.nanmedian(odd)),
        e.mean_conformity,
        float(conformity.std()),
        calibration.pearson,
        calibration.slope,
        calibration.inverse_slope,
    )
    return {
        "figures": dict(zip(SHOWN, figures, strict=True)),
        "histogram": np.histogram(conformity, bins=24, range=(0.2, 0.8))[0].tolist(),
        "least": int(conformity.argmin()),
        "most": int(conformity.argmax()),
        "fit_seconds": fitted - start,
        "score_seconds": scored - before,
        "score_files": written.files,
    }


def _table(result: dict[str, Any], results: dict[str, Any], out: Path, made_seconds: float) -> str:
    image, text = results["image"], results["text"]
    head = f"{'':<33}{'image':>10}{'paper':>9}{'text':>12}{'paper':>9}"
    body = []
    for name in SHOWN:
        paper = PAPER.get(name, NEITHER)
        cells = (image["figures"][name], paper[0], text["figures"][name], paper[1])
        shown = [_shown(name, cell) for cell in cells]
        body.append(f"{label_of(name):<33}{shown[0]:>10}{shown[1]:>9}{shown[2]:>12}{shown[3]:>9}")
    rule = "-" * len(head)
    return "\n".join(
        [
            f"{result['rows']:,} synthetic pairs, {result['dim']} features, seed {result['seed']}, "
            f"made in {made_seconds:.1f} s",
            rule,
            head,
            rule,
            *body,
            rule,
            f"conformity of images  0.2 {_sparkline(image['histogram'])} 0.8",
            f"conformity of texts   0.2 {_sparkline(text['histogram'])} 0.8",
            "",
            f"fitted in {image['fit_seconds'] + text['fit_seconds']:.2f} s with covariance, scored "
            f"in {image['score_seconds'] + text['score_seconds']:.2f} s",
            f"{out}/set/, {out}/*.ellipsoid, {out}/scores/   (paper: Levi & Gilboa, ICML 2025)",
        ]
    )


def label_of(name: str) -> str:
    """Return what the table calls a figure."""
    from clipsoid.analysis.tables import LABELS

    return LABELS[name][0] + (", %" if name in PERCENT else "")


def _shown(name: str, value: float | None) -> str:
    if value is None:
        return ""
    return f"{100 * value if name in PERCENT else value:.4f}"


def _sparkline(counts: list[int]) -> str:
    """Return a histogram in one line."""
    blocks = " ▁▂▃▄▅▆▇█"
    top = max(counts) or 1
    # A bin with a single row shows, too.
    return "".join(blocks[-(-count * (len(blocks) - 1) // top)] for count in counts)
