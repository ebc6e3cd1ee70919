"""The whole paper in one result: its parts, its verdicts, and its JSON."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import clipsoid as cs
from bounds import assert_within
from clipsoid._source import Located, Source, as_source
from clipsoid.analysis.compute import PARTS
from oracle import reference

SLOW = ("linear_separability", "normality")
DIM, PAIRS = 128, 2_000


@pytest.fixture(scope="module")
def demo() -> tuple[np.ndarray, np.ndarray]:
    image, text, _ = cs.double_ellipsoid(PAIRS, dim=DIM, seed=0)
    return image, text


@pytest.fixture(scope="module")
def found(demo: tuple[np.ndarray, np.ndarray]) -> cs.Analysis:
    captions = [f"caption {i}" for i in range(PAIRS)]
    return cs.analyze(*demo, captions=captions, sample_rows=300)


def answers(found: cs.Analysis) -> dict[int, bool | None]:
    return {verdict.number: verdict.holds for verdict in found.verdicts}


def turned(rows: np.ndarray, axes: np.ndarray) -> np.ndarray:
    return np.asarray(rows @ axes, np.float32)


def test_demo_data_have_every_property(found: cs.Analysis) -> None:
    assert answers(found) == dict.fromkeys(range(1, 8), True), [*map(str, found.verdicts)]
    assert found.warnings == ()


def test_untilted_data_are_not_tilted(demo: tuple[np.ndarray, np.ndarray]) -> None:
    # One rotation for both: no length, no angle and no pair changes, but the covariance of the
    # images becomes diagonal.
    image, text = demo
    axes = np.linalg.eigh(np.cov(image.astype(np.float64).T))[1]
    got = cs.analyze(turned(image, axes), turned(text, axes), leave_out=["normality"])
    assert answers(got) == dict.fromkeys(range(1, 8), True) | {4: False}


def test_centred_data_are_neither_off_centre_nor_apart(
    demo: tuple[np.ndarray, np.ndarray],
) -> None:
    image, text = (x - x.mean(axis=0) for x in demo)
    got = cs.analyze(image, text, leave_out=["normality"])
    # Moving a centre that is the origin changes nothing: where the loss is least says nothing.
    wanted = dict.fromkeys(range(1, 8), True) | {1: False, 5: False, 6: None, 7: None}
    assert answers(got) == wanted
    assert "nothing changes" in got.verdicts[5].reason


def test_spherical_data_are_no_ellipsoid(demo: tuple[np.ndarray, np.ndarray]) -> None:
    image, text = (x.astype(np.float64) for x in demo)
    values, axes = np.linalg.eigh(np.cov(image.T))
    centred = (image - image.mean(axis=0)) @ axes / np.sqrt(values) @ axes.T
    round_image = centred * np.sqrt(values.mean()) + image.mean(axis=0)
    # Where the loss is least and how conformities match depend on the axes that are gone.
    got = answers(cs.analyze(round_image, text, leave_out=["normality"]))
    assert {n: got[n] for n in range(1, 6)} == {1: True, 2: True, 3: False, 4: False, 5: True}


def test_shuffled_pairs_have_no_least_loss_near_zero(
    demo: tuple[np.ndarray, np.ndarray],
) -> None:
    image, text = demo
    text = text[np.random.default_rng(0).permutation(PAIRS)]
    got = cs.analyze(image, text, leave_out=["normality"])
    assert answers(got) == dict.fromkeys(range(1, 8), True) | {6: False}
    assert any("unrelated" in warning for warning in got.warnings)


def test_what_cannot_be_judged(demo: tuple[np.ndarray, np.ndarray]) -> None:
    image, text = (x[:600] / np.linalg.norm(x[:600], axis=1, keepdims=True) for x in demo)
    got = cs.analyze(image, text, leave_out=PARTS)
    # Few rows show that an ellipsoid is tilted, where it is.
    assert answers(got) == dict.fromkeys(range(1, 8)) | {3: True, 4: True}
    assert got.verdicts[1].reason == "image rows are normalised; text rows are normalised"
    assert got.verdicts[0].reason == "left out"
    # Each is of both modalities, and said once.
    assert len(got.warnings) == 2
    assert all(warning.startswith("image and text: ") for warning in got.warnings)
    # They do not show that it is not.
    rng = np.random.default_rng(0)
    spheres = (rng.standard_normal((2, 600, DIM)) + 1).astype(np.float32)
    got = cs.analyze(*spheres, leave_out=PARTS)
    assert answers(got) == dict.fromkeys(range(1, 8)) | {2: True, 5: True}
    assert all("600 rows" in got.verdicts[at].reason for at in (2, 3))
    spheres = (rng.standard_normal((2, 10 * DIM, DIM)) + 1).astype(np.float32)
    got = cs.analyze(*spheres, leave_out=PARTS)
    assert (got.verdicts[2].holds, got.verdicts[3].holds) == (False, False)


def test_parts_are_those_of_the_functions(
    found: cs.Analysis, demo: tuple[np.ndarray, np.ndarray]
) -> None:
    image, text = demo
    assert found.loss_sweep.table.equals(cs.loss_sweep(image, text).table)
    assert found.match_sweep.table.equals(cs.match_sweep(image, text).table)
    assert found.separability.equals(cs.separability(image, text))
    assert found.linear_separability == cs.linear_separability(image, text)
    assert found.gap == cs.modality_gap(image, text)
    ranks = cs.retrieval_ranks(image, text)
    assert found.retrieval.image_to_text.recall_at_5 == ranks.recall(5).image_to_text
    assert found.retrieval.text_to_image.median_rank == ranks.median_rank.text_to_image
    rivals = cs.false_negatives(image, text, k=1)
    link = found.retrieval.text_link
    assert link.spearman == rivals.text_spearman
    np.testing.assert_array_equal(link.count, rivals.text_to_image.count[link.row])


def test_what_compares_features_reads_the_rows_once(demo: tuple[np.ndarray, np.ndarray]) -> None:
    def reads(*parts: str) -> int:
        count = 0

        def counting(source: Source) -> Source:
            def read() -> Iterator[Located]:
                nonlocal count
                count += 1
                yield from source.read()

            return dataclasses.replace(source, read=read)

        sources = (counting(as_source(x[:300])) for x in demo)
        cs.analyze(
            *sources, sample_rows=100, leave_out=[name for name in PARTS if name not in parts]
        )
        return count

    # Of each modality: histograms in one pass, the rows of the plane in another.
    none = reads()
    assert reads("separability") == none + 2
    assert reads("linear_separability") == none + 2
    assert reads("gap") == none + 2


@pytest.mark.parametrize("name", ["image", "text"])
def test_a_modality_equals_the_oracle(
    name: str, found: cs.Analysis, demo: tuple[np.ndarray, np.ndarray]
) -> None:
    rows = demo[name == "text"].astype(np.float64)
    got = getattr(found, name)
    mean = rows.mean(axis=0)
    radii = np.linalg.norm(rows - mean, axis=1)
    counts, _ = np.histogram(radii, got.radii.edges)
    # A radius on an edge may fall on either side.
    assert np.abs(counts - got.radii.counts).sum() <= 2
    assert_within(got.radii.edges[[0, -1]], [radii.min(), radii.max()], 1e-9, "radii")
    assert_within(got.radii_of_axes**2, np.linalg.eigvalsh(np.cov(rows.T))[::-1], 1e-5, "axes")
    conformity = reference.conformity(rows)
    order = np.argsort(-conformity, kind="stable")
    np.testing.assert_array_equal(got.highest.row, order[:24])
    np.testing.assert_array_equal(got.lowest.row, order[::-1][:24])
    assert_within(got.sample.conformity, conformity[got.sample.row], 1e-9, "sample")
    assert (got.conformity.counts.sum(), len(got.sample.row)) == (PAIRS, 300)
    assert (np.diff(got.sample.row) > 0).all()
    for feature, histogram in enumerate(got.centred_features):
        values = (rows - mean)[got.sample.row, feature]
        ends = histogram.edges[[0, -1]]
        assert_within(ends, [values.min(), values.max()], 1e-9, f"feature {feature}")
        # NumPy's mean may differ in its last bit: the least value then lies before the edge.
        counts, _ = np.histogram(values.clip(*ends), histogram.edges)
        np.testing.assert_array_equal(histogram.counts, counts, f"feature {feature}")


def same(got: Any, want: Any, where: str = "") -> None:
    """Equal to the last bit, through dataclasses, arrays and frames."""
    assert type(got) is type(want), where
    if dataclasses.is_dataclass(want):
        for field in dataclasses.fields(want):
            name = field.name
            same(getattr(got, name), getattr(want, name), f"{where}.{name}")
    elif isinstance(want, np.ndarray):
        np.testing.assert_array_equal(got, want, where)
        assert got.dtype == want.dtype, where
    elif isinstance(want, tuple):
        assert len(got) == len(want), where
        for i, (one, other) in enumerate(zip(got, want, strict=True)):
            same(one, other, f"{where}[{i}]")
    elif hasattr(want, "to_dicts"):
        assert got.equals(want) and got.schema == want.schema, where
    else:
        assert got == want or (got != got and want != want), where


def test_json_holds_everything(found: cs.Analysis) -> None:
    text = found.to_json()
    json.loads(text, parse_constant=pytest.fail)
    got = cs.Analysis.from_json(text)
    same(got, found)
    assert got.to_json() == text
    assert len(text) < 3e6


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not JSON"),
        ("[]", "no format 'clipsoid.analysis'"),
        ('{"format": "clipsoid.sweep"}', "no format 'clipsoid.analysis'"),
        ('{"format": "clipsoid.analysis", "schema": 99}', "schema 99; this version reads 1"),
        ('{"format": "clipsoid.analysis", "schema": 1}', "is missing"),
    ],
)
def test_other_json_is_refused(text: str, message: str) -> None:
    with pytest.raises(cs.MismatchError, match=message):
        cs.Analysis.from_json(text)


def test_any_part_can_be_left_out(demo: tuple[np.ndarray, np.ndarray]) -> None:
    image, text = (x[:200] for x in demo)
    quick = [name for name in PARTS if name not in SLOW]
    for name in quick:
        got = cs.analyze(image, text, leave_out=[name, *SLOW])
        assert getattr(got, name) is None
        assert all(getattr(got, other) is not None for other in quick if other != name)
        assert got.options.left_out == tuple(n for n in PARTS if n in (name, *SLOW))
        same(cs.Analysis.from_json(got.to_json()), got)
        assert len(got.to_frame()) > 10


def test_progress_names_each_part(demo: tuple[np.ndarray, np.ndarray]) -> None:
    seen: list[str] = []
    cs.analyze(*(x[:100] for x in demo), leave_out=SLOW, progress=seen.append)
    assert seen == ["modalities", *(name for name in PARTS if name not in SLOW)]


def test_captions_of_named_rows_travel(
    found: cs.Analysis, demo: tuple[np.ndarray, np.ndarray]
) -> None:
    items = found.items
    assert items.columns == ["row", "caption", "image_path"]
    assert items["caption"].to_list() == [f"caption {row}" for row in items["row"]]
    assert items["image_path"].null_count() == len(items)
    named = set(items["row"])
    assert named >= {*found.image.highest.row, *found.text.lowest.row, *found.text.sample.row}
    assert cs.analyze(*(x[:50] for x in demo), leave_out=PARTS).items is None


def test_of_many_pairs_a_sample_is_compared(demo: tuple[np.ndarray, np.ndarray]) -> None:
    got = cs.analyze(*demo, most_pairs=500, leave_out=SLOW, seed=3)
    assert (got.retrieval.pairs, got.loss_sweep.count, got.image.count) == (500, 500, PAIRS)
    assert any("500 sampled pairs of 2,000" in warning for warning in got.warnings)
    again = cs.analyze(*demo, most_pairs=500, leave_out=SLOW, seed=3)
    same(again, got)
    other = cs.analyze(*demo, most_pairs=500, leave_out=SLOW, seed=4)
    assert other.loss_sweep.table["loss"][0] != got.loss_sweep.table["loss"][0]


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_every_element_type_and_source(
    dtype: str, demo: tuple[np.ndarray, np.ndarray], tmp_path: Any
) -> None:
    from unit.samples import DTYPES

    image, text = (x[:300].astype(DTYPES[dtype]) for x in demo)
    want = cs.analyze(image, text, leave_out=SLOW)
    assert want.image.dtypes == (dtype,)
    if dtype == "bfloat16":
        return
    for name, rows in (("image", image), ("text", text)):
        (tmp_path / name).mkdir()
        for i, part in enumerate(np.array_split(rows, 3)):
            np.save(tmp_path / name / f"{i}.npy", part)
    same(cs.analyze(tmp_path / "image", tmp_path / "text", leave_out=SLOW), want)


def test_threads_do_not_show(demo: tuple[np.ndarray, np.ndarray]) -> None:
    one, two = (cs.analyze(*demo, leave_out=SLOW, n_threads=n) for n in (1, 2))
    same(one, two)
    few = [x[:400, :24] for x in demo]
    one, two = (cs.analyze(*few, n_threads=n) for n in (1, 2))
    same(one, two)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"leave_out": ["gaps"]}, ValueError, "leave_out: 'gaps' is no part"),
        ({"bins": 0}, ValueError, "bins=0"),
        ({"sample_rows": 0}, ValueError, "sample_rows=0"),
        ({"most_pairs": 1}, ValueError, "most_pairs=1"),
        ({"temperature": -1.0}, ValueError, "temperature=-1.0"),
        ({"alphas": []}, ValueError, "alphas is empty"),
        ({"shift": "sideways"}, ValueError, "shift='sideways'"),
        ({"captions": ["a"]}, cs.ShapeError, "captions: found 1, wanted one for each of 60 rows"),
        ({"image_paths": []}, cs.ShapeError, "image_paths: found 0"),
    ],
)
def test_bad_options_are_named_before_the_work(
    options: dict[str, Any], error: type, message: str, demo: tuple[np.ndarray, np.ndarray]
) -> None:
    seen: list[str] = []
    with pytest.raises(error, match=message):
        cs.analyze(*(x[:60] for x in demo), progress=seen.append, **options)
    assert seen == []


def test_bad_rows_are_named(demo: tuple[np.ndarray, np.ndarray]) -> None:
    image, text = (x[:60].copy() for x in demo)
    with pytest.raises(cs.ShapeError, match="image has 60 rows, text has 59"):
        cs.analyze(image, text[1:])
    with pytest.raises(cs.MismatchError, match="features"):
        cs.analyze(image, text[:, 1:])
    text[7, 3] = np.nan
    with pytest.raises(cs.InvalidRowError, match=r"^text: row 7 "):
        cs.analyze(image, text)


def cloud(center: float, n: int = 100, dim: int = 6, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, dim)) + center


def unit(x: np.ndarray) -> np.ndarray:
    return x / np.linalg.norm(x, axis=1, keepdims=True)


@pytest.mark.parametrize(
    "rows",
    [
        unit(cloud(1)),
        10 * unit(cloud(1)),
        np.eye(20),
        np.vstack([cloud(1), -cloud(1)]),
        cloud(0)[:2],
    ],
    ids=["normalised", "one length", "axes", "opposite", "two rows"],
)
def test_figures_without_a_spread_are_no_error(rows: np.ndarray) -> None:
    other = rows[::-1] + 0.1
    found = cs.analyze(rows, other, leave_out=SLOW)
    assert found.image.norm_histogram.counts.sum() == len(rows)
    if np.ptp(np.linalg.norm(rows, axis=1)) < 1e-12:
        # Rounding is no distribution.
        assert np.count_nonzero(found.image.norm_histogram.counts) == 1
    same(cs.Analysis.from_json(found.to_json()), found)


def test_a_feature_that_is_constant_in_each_modality_travels() -> None:
    image, text = cloud(1), cloud(-1)
    image[:, 2], text[:, 2] = 3.0, 4.0
    found = cs.analyze(image, text, leave_out=SLOW)
    assert found.separability["separability"][0] == np.inf
    same(cs.Analysis.from_json(found.to_json()), found)


def test_a_modality_of_one_row_is_not_judged() -> None:
    constant = np.tile(cloud(1)[:1], (100, 1))
    found = cs.analyze(constant, cloud(-1), shift="text", leave_out=[*SLOW, "vslerp"])
    assert {n: holds for n, holds in answers(found).items() if n in (2, 3, 4, 5)} == dict.fromkeys(
        (2, 3, 4, 5)
    )
    assert "the image rows are all the same" in found.verdicts[1].reason
    assert any("99 of 100 rows repeat" in warning for warning in found.warnings)


@pytest.mark.parametrize(
    ("alphas", "reason"),
    [([0.0], "beyond 0.2"), ([-0.1, 0.1], "beyond 0.2"), ([1.0], "within 0.2")],
)
def test_a_grid_that_shows_nothing_is_not_judged(alphas: list[float], reason: str) -> None:
    found = cs.analyze(cloud(1), cloud(-1), alphas=alphas, leave_out=SLOW)
    for verdict in found.verdicts[5:]:
        assert verdict.holds is None
        assert reason in verdict.reason


@pytest.mark.parametrize("law", ["repeated", "heavy-tailed", "laplace"])
def test_chance_is_not_taken_for_an_ellipsoid(law: str) -> None:
    rng = np.random.default_rng(5)
    for dim in (20, 64):
        sets = []
        for _ in range(2):
            match law:
                case "repeated":
                    x = np.repeat(rng.standard_normal((400, dim)), 5, axis=0)
                case "heavy-tailed":
                    x = rng.standard_t(8, (2_000, dim))
                case _:
                    x = rng.laplace(size=(2_000, dim))
            sets.append(x + 1)
        got = answers(cs.analyze(*sets, leave_out=PARTS))
        # Of few distinct rows nothing follows; of enough, that they are spheres.
        assert got[3] is not True
        assert got[4] is not True


def test_opposite_ends_have_no_arc() -> None:
    found = cs.analyze(cloud(0, dim=1), cloud(0, dim=1, seed=1), leave_out=SLOW)
    assert found.vslerp is None


def test_what_a_part_needs_is_said_before_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    few = cloud(1, n=12), cloud(-1, n=12)
    with pytest.raises(cs.ShapeError, match=r"normality: found 12 rows .*leave_out="):
        cs.analyze(*few, progress=seen.append)
    with pytest.raises(cs.ShapeError, match=r"linear_separability: found 12 rows of 1 features"):
        cs.analyze(*(x[:, :1] for x in few), progress=seen.append)
    from clipsoid import _extras

    monkeypatch.setattr(_extras, "find_spec", lambda name: None)
    with pytest.raises(cs.UnavailableError, match=r"linear_separability needs scikit-learn"):
        cs.analyze(cloud(1), cloud(-1), progress=seen.append)
    with pytest.raises(cs.UnavailableError, match=r"normality needs scipy"):
        cs.analyze(cloud(1), cloud(-1), leave_out=["linear_separability"], progress=seen.append)
    assert seen == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"leave_out": "gap"}, "leave_out='gap'; wanted a list"),
        ({"leave_out": None}, "leave_out=None; wanted a list"),
        ({"captions": "a" * 100}, "captions='aaa"),
        ({"captions": 7}, "captions=7; wanted one text for each row"),
        ({"seed": None}, "seed=None"),
        ({"seed": -1}, "seed=-1"),
        ({"seed": 1.5}, "seed=1.5"),
    ],
)
def test_more_options_that_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        cs.analyze(cloud(1), cloud(-1), **options)


def test_parts_may_come_from_a_generator_and_captions_be_missing() -> None:
    names = (name for name in SLOW)
    captions = [None, *map(str, range(99))]
    found = cs.analyze(cloud(1), cloud(-1), leave_out=names, captions=captions)
    assert found.options.left_out == SLOW
    assert found.items["caption"].to_list() == captions


def test_rows_are_refused_without_talk_of_policies() -> None:
    bad = cloud(1)
    bad[3] = 0
    with pytest.raises(cs.InvalidRowError, match=r"^image: row 3 has zero norm$"):
        cs.analyze(bad, cloud(-1), leave_out=SLOW)
    with pytest.raises(cs.InvalidRowError, match=r"^image: row 3 has zero norm$"):
        cs.match_sweep(bad, cloud(-1))
    with pytest.raises(cs.InvalidRowError, match=r"^image: row 3 has zero norm$"):
        cs.conformity_difference(bad, cloud(-1))
