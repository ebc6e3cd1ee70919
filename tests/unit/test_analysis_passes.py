"""How often `analyze` reads the rows; what it knows gives the figures that a pass gives."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import clipsoid as cs
from clipsoid._source import Located, Source, as_source
from unit.samples import DTYPES

COUNT, DIM = 1_100, 32

#: Readings of the images, which move, and of the texts, by the part that reads.
READINGS = {
    "modalities": (2, 2),
    "gap": (1, 1),
    # All pairs of two of its batches are gathered once, for every part that compares them.
    "similarities": (1, 1),
    "match_sweep": (2, 0),
    "vslerp": (2, 0),
}


@pytest.fixture(scope="module")
def rows() -> tuple[np.ndarray, np.ndarray]:
    image, text, _ = cs.double_ellipsoid(COUNT, dim=DIM, seed=4)
    return image, text


def pieces(folder: Path, name: str, rows: np.ndarray) -> Path:
    """Rows in three files."""
    (folder / name).mkdir()
    for i, part in enumerate(np.array_split(rows, 3)):
        np.save(folder / name / f"{i}.npy", part)
    return folder / name


def counted(x: Any, name: str, read: Counter[tuple[str, str]], part: list[str]) -> Source:
    """As the rows, but every reading is counted under the part that was announced last."""
    source = as_source(x, name)

    def reader() -> Iterator[Located]:
        read[part[-1], name] += 1
        yield from source.read()

    return replace(source, name=name, read=reader)


@pytest.mark.parametrize("sampled", [False, True])
@pytest.mark.parametrize("files", [False, True])
def test_rows_are_read_no_more_often_than_they_must_be(
    rows: tuple[np.ndarray, np.ndarray], tmp_path: Path, files: bool, sampled: bool
) -> None:
    read: Counter[tuple[str, str]] = Counter()
    part: list[str] = []
    sources = [
        counted(pieces(tmp_path, name, x) if files else x, name, read, part)
        for name, x in zip(("image", "text"), rows, strict=True)
    ]
    sizes = {"most_pairs": 200, "sample_rows": 100} if sampled else {}
    left_out = ["separability", "linear_separability"]
    cs.analyze(*sources, leave_out=left_out, progress=part.append, **sizes)
    want = Counter(
        {
            (name, modality): count
            for name, both in READINGS.items()
            for modality, count in zip(("image", "text"), both, strict=True)
            if count and not (sampled and name == "similarities")
        }
    )
    assert read == want


def test_pairs_are_not_gathered_for_nothing(rows: tuple[np.ndarray, np.ndarray]) -> None:
    from clipsoid.analysis import PARTS

    read: Counter[tuple[str, str]] = Counter()
    sources = [
        counted(x, name, read, ["all"]) for name, x in zip(("image", "text"), rows, strict=True)
    ]
    cs.analyze(*sources, leave_out=PARTS)
    assert read == {("all", "image"): 2, ("all", "text"): 2}


# A .npy file has no bfloat16.
@pytest.mark.parametrize(
    ("dtype", "files"),
    [*((dtype, False) for dtype in DTYPES), *((d, True) for d in DTYPES if d != "bfloat16")],
)
def test_known_figures_are_those_of_a_pass_to_the_bit(
    rows: tuple[np.ndarray, np.ndarray], tmp_path: Path, dtype: str, files: bool
) -> None:
    image, text = (x.astype(DTYPES[dtype]) for x in rows)
    if files:
        image, text = pieces(tmp_path, "image", image), pieces(tmp_path, "text", text)
    left_out = ["separability", "linear_separability", "loss_sweep", "match_sweep", "vslerp"]
    found = cs.analyze(image, text, leave_out=left_out, sample_rows=150, seed=7)
    for name, x in (("image", image), ("text", text)):
        got, e = getattr(found, name), cs.Ellipsoid.fit(x)
        assert got.shell == e.shell(x)
        assert got.calibration == e.calibrate(x)
        scores = e.score(x, member=True)
        for figure in ("conformity", "cosine_to_mean", "norm"):
            np.testing.assert_array_equal(
                getattr(got.sample, figure), getattr(scores, figure)[got.sample.row], figure
            )
        normality = cs.Whitening.from_ellipsoid(e).normality(x, sample=150, seed=7)
        for figure, value in normality.to_dict().items():
            np.testing.assert_array_equal(
                getattr(getattr(found.normality, name), figure), value, figure
            )
        similar, want = getattr(found.similarities, name), cs.similarity_histogram(x, bins=50)
        np.testing.assert_array_equal(similar.counts, want.counts)
        assert similar.mean == want.mean
    assert found.similarities.between.mean == cs.similarity_histogram(image, text).mean
    rivals = cs.false_negatives(image, text, k=1)
    assert found.retrieval.image_link.spearman == rivals.image_spearman
    assert found.retrieval.text_link.spearman == rivals.text_spearman


def test_links_of_a_sample_are_of_its_place_among_all(
    rows: tuple[np.ndarray, np.ndarray],
) -> None:
    left_out = ["separability", "linear_separability", "loss_sweep", "match_sweep", "vslerp"]
    found = cs.analyze(*rows, leave_out=[*left_out, "normality"], most_pairs=200)
    everyone = cs.conformity(rows[0])
    link = found.retrieval.image_link
    assert len(link.row) == 200
    np.testing.assert_array_equal(link.conformity, everyone[link.row])
    chosen = [x[link.row] for x in rows]
    counts = cs.false_negatives(*chosen, k=1).image_to_text.count
    np.testing.assert_array_equal(link.count, counts)
    # Of the sample alone, similarities are too.
    want = cs.similarity_histogram(chosen[0], bins=50)
    np.testing.assert_array_equal(found.similarities.image.counts, want.counts)
    assert found.similarities.image.mean == want.mean
