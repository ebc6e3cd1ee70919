"""Each rule, alone and with others, against plain sorting."""

from __future__ import annotations

from hashlib import blake2b
from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl
import pytest

import clipsoid as cs
from selection.makers import highest, lowest, ok, scores, uid

FRAME = scores()
ROWS = ok(FRAME)
VALUES: list[Any] = FRAME["conformity"].to_list()
N = len(ROWS)


def kept(selection: cs.Selection, frame: pl.DataFrame = FRAME) -> list[int]:
    """Return the numbers of the rows that were kept, in their order."""
    number = {name: i for i, name in enumerate(frame["uid"])}
    found = [number[name] for name in selection.frame.collect()["uid"]]
    assert len(found) == selection.rows_kept == len(selection)
    assert selection.rows_in - sum(selection.removed.values()) == len(found)
    return found


def test_without_rules_all_rows_that_have_a_score_stay() -> None:
    selection = cs.select(FRAME)
    assert kept(selection) == ROWS
    assert selection.removed == {"status": FRAME.height - N}
    counts = FRAME["status"].cast(pl.String).value_counts()
    assert selection.status == dict(sorted(counts.iter_rows()))


@pytest.mark.parametrize("amount", [1, 7, 100, N, "10%", "33.3%", "100%"])
def test_ends(amount: int | str) -> None:
    count = amount
    if isinstance(amount, str):
        count = int(N * float(amount[:-1]) / 100 + 0.5)
    assert kept(cs.select(FRAME, top=amount)) == sorted(highest(ROWS, VALUES, count))
    assert kept(cs.select(FRAME, bottom=amount)) == sorted(lowest(ROWS, VALUES, count))


def test_a_threshold_splits_the_rows() -> None:
    # 0.3 is no float32: it is compared as one, as it is stored.
    edge = VALUES[ROWS[3]]
    high, low = (kept(cs.select(FRAME, **{side: edge})) for side in ("above", "below"))
    assert high == [i for i in ROWS if VALUES[i] >= edge]
    assert sorted(high + low) == ROWS and ROWS[3] in high
    on_paper = pl.DataFrame({"conformity": pl.Series([0.3, 0.2], dtype=pl.Float32)})
    assert cs.select(on_paper, above=0.3).rows_kept == 1


def test_bands_that_meet_share_no_row_and_leave_none() -> None:
    ends = [0, 0.05, 0.3, 0.31, 0.75, 1]
    order = sorted(ROWS, key=lambda i: (VALUES[i], i))
    seen: list[int] = []
    for low, high in pairwise(ends):
        band = kept(cs.select(FRAME, quantiles=(low, high)))
        first, last = (int(end * N + 0.5) for end in (low, high))
        assert band == sorted(order[first:last])
        seen += band
    assert sorted(seen) == ROWS


@pytest.mark.parametrize("pick", ["highest", "lowest"])
def test_a_fraction_of_each_stratum(pick: Any) -> None:
    strata = ["abc"[i % 7 % 3] if i % 11 else None for i in range(FRAME.height)]
    frame = FRAME.with_columns(kind=pl.Series(strata))
    want: set[int] = set()
    for name in ("a", "b", "c", None):
        own = [i for i in ROWS if strata[i] == name]
        want |= (highest if pick == "highest" else lowest)(own, VALUES, int(0.3 * len(own) + 0.5))
    assert kept(cs.select(frame, fraction=0.3, per="kind", pick=pick)) == sorted(want)


def test_a_fraction_of_strata_of_numbers_and_of_all_rows() -> None:
    frame = FRAME.with_columns(kind=pl.int_range(pl.len()) % 5)
    selection = cs.select(frame, fraction=0.2, per="kind", pick="random")
    found = [i % 5 for i in kept(selection)]
    sizes = [sum(i % 5 == kind for i in ROWS) for kind in range(5)]
    assert [found.count(kind) for kind in range(5)] == [int(0.2 * n + 0.5) for n in sizes]
    assert kept(cs.select(FRAME, fraction=0.2)) == kept(cs.select(FRAME, top="20%"))


def test_random_choices_follow_the_seed_and_spread_evenly() -> None:
    frame = scores((20_000,), steps=1)
    one, same, other = (
        set(kept(cs.select(frame, fraction=0.5, pick="random", seed=seed), frame))
        for seed in (1, 1, 2)
    )
    assert one == same
    n = len(ok(frame))
    # Two independent halves share a quarter; five standard deviations of that are 1.8 %.
    assert abs(len(one & other) / n - 0.25) < 0.018
    halves = sum(i < 10_000 for i in one) / len(one)
    assert abs(halves - 0.5) < 0.025


def test_random_choices_are_the_least_hashes_of_places() -> None:
    # SplitMix64 in whole numbers of Python, from a state for each seed and shard.
    def hashed(shard: str, row: int) -> int:
        state = blake2b(f"5:{shard}".encode(), digest_size=8).digest()
        z = (int.from_bytes(state, "little") + (row + 1) * 0x9E3779B97F4A7C15) % 2**64
        z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 % 2**64
        z = (z ^ z >> 27) * 0x94D049BB133111EB % 2**64
        return z ^ z >> 31

    places = FRAME.select("shard", "row").rows()
    order = sorted(ROWS, key=lambda i: hashed(*places[i]))
    found = cs.select(FRAME, fraction=0.25, pick="random", seed=5)
    assert kept(found) == sorted(order[: int(0.25 * N + 0.5)])


def test_where_in_sql_and_as_an_expression() -> None:
    norm = FRAME["norm"].to_list()
    want = [i for i in ROWS if norm[i] > 10.5 and VALUES[i] < 0.3]
    assert kept(cs.select(FRAME, where="norm > 10.5 AND conformity < 0.3")) == want
    asked = (pl.col("norm") > 10.5) & (pl.col("conformity") < 0.3)
    assert kept(cs.select(FRAME, where=asked)) == want
    assert kept(cs.select(FRAME, where="shard LIKE 'img_2%'")) == [i for i in ROWS if i >= 200]


def test_where_that_is_null_is_no_and_is_noted() -> None:
    frame = FRAME.with_columns(width=pl.when(pl.col("row") % 2 == 0).then("row"))
    selection = cs.select(frame, where="width < 40")
    assert kept(selection) == [i for i in ROWS if frame["row"][i] in range(0, 40, 2)]
    odd = sum(frame["row"][i] % 2 for i in ROWS)
    assert selection.notes == (f"where is null for {odd} rows, which are left out",)


def test_where_sees_the_whole_set_and_not_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clipsoid.selection.table.BATCH_ROWS", 16)
    mean = FRAME["norm"].mean()
    want = [i for i in ROWS if FRAME["norm"][i] > mean]
    assert kept(cs.select(FRAME, where="norm > AVG(norm)")) == want
    assert kept(cs.select(FRAME, where=pl.lit(True))) == ROWS


def test_rules_follow_one_another() -> None:
    selection = cs.select(FRAME, where="norm > 9", below=0.5, quantiles=(0.1, 0.9), top=20)
    left = [i for i in ROWS if FRAME["norm"][i] > 9 and VALUES[i] < np.float32(0.5)]
    order = sorted(left, key=lambda i: (VALUES[i], i))
    band = order[int(0.1 * len(left) + 0.5) : int(0.9 * len(left) + 0.5)]
    assert kept(selection) == sorted(highest(band, VALUES, 20))
    assert list(selection.removed) == ["status", "where", "below", "quantiles", "top"]
    assert selection.removed["top"] == len(band) - 20


@pytest.mark.parametrize("kind", [pl.Float64, pl.Int64, pl.UInt8, pl.Float32])
def test_columns_of_any_number(kind: Any) -> None:
    rng = np.random.default_rng(3)
    values = rng.integers(0, 90, 500) if kind in (pl.Int64, pl.UInt8) else rng.normal(size=500)
    if kind == pl.Int64:
        values -= 45
    frame = pl.DataFrame({"x": pl.Series(values.tolist()).cast(kind)})
    exact = frame["x"].to_list()
    selection = cs.select(frame, column="x", bottom=123)
    want = lowest(list(range(500)), exact, 123)
    assert selection.frame.collect()["x"].to_list() == [exact[i] for i in sorted(want)]


def test_zeros_of_both_signs_tie_and_what_is_no_number_never_enters() -> None:
    values = [0.0, -0.0, float("nan"), float("inf"), None, -0.0, 0.0, -1.0, 1.0]
    frame = pl.DataFrame({"conformity": values, "at": range(9)})
    selection = cs.select(frame, bottom=3)
    assert selection.frame.collect()["at"].to_list() == [0, 1, 7]
    assert selection.removed == {"no score": 3, "bottom": 3}


def test_the_distribution_is_that_of_numpy() -> None:
    selection = cs.select(FRAME, above=0.1)
    levels = (0, 0.05, 0.25, 0.5, 0.75, 0.95, 1)
    for found, rows in ((selection.before, ROWS), (selection.after, kept(selection))):
        own = np.array([VALUES[i] for i in rows])
        want = np.quantile(own, levels, method="inverted_cdf")
        got = [found.min, found.p5, found.p25, found.median, found.p75, found.p95, found.max]
        assert got == want.tolist()
        assert found.counts.tolist() == np.histogram(own, found.edges)[0].tolist()
        assert found.count == len(own)
    assert (selection.before.edges == selection.after.edges).all()


def test_results_say_what_they_are() -> None:
    selection = cs.select(FRAME, top=3)
    assert repr(selection) == "Selection(3 of 300 rows by conformity)"
    assert "removed" in selection._repr_html_() and "before.median" in selection._repr_html_()
    told = selection.to_dict()
    assert told["rules"] == {"column": "conformity", "top": 3}
    assert told["after"]["count"] == 3
    with pytest.raises(AttributeError):
        selection.rows_in = 3  # type: ignore[misc]


def test_the_frame_is_a_query_of_polars() -> None:
    frame = cs.select(FRAME, top=20).frame
    whole = frame.collect()
    assert whole.schema == FRAME.schema
    assert frame.select(pl.len()).collect().item() == 20
    assert frame.select("norm").head(3).collect()["norm"].to_list() == [*whole["norm"][:3]]
    some = frame.filter(pl.col("norm") > 10).collect()
    assert some.equals(whole.filter(pl.col("norm") > 10))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"where": "nowhere > 1"}, r"has no column 'nowhere' \(where\); found shard, row, uid"),
        ({"column": "likelihood"}, r"has no column 'likelihood' \(column\); found shard"),
        ({"column": "shard"}, "'shard' is String; wanted a column of numbers"),
        ({"fraction": 0.1, "per": "kind"}, r"has no column 'kind' \(per\)"),
        ({"where": "norm >"}, "where: unable to parse 'norm >'"),
        ({"where": "norm + 1"}, "where: gives Float32; wanted true or false"),
        ({"where": "uid > 1"}, "where: cannot be asked: "),
        ({"where": "norm > 99"}, f"where: leaves none of {N} rows"),
        ({"above": 9.0}, f"above: leaves none of {N} rows"),
        ({"top": N + 1}, f"top: wanted {N + 1} rows, but only {N} are left"),
        ({"balance": True, "rows": N + 1}, f"balance: wanted {N + 1} rows, but only {N} are left"),
        ({"fraction": 0.001, "per": "uid"}, f"fraction: leaves none of {N} rows"),
    ],
)
def test_what_cannot_be_chosen(options: dict[str, Any], message: str) -> None:
    with pytest.raises(cs.SelectionError, match=message):
        cs.select(FRAME, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"quantiles": (0.5, 0.5)}, r"quantiles=\(0.5, 0.5\); wanted two numbers, 0 <= LO < HI"),
        ({"quantiles": 0.5}, "quantiles=0.5"),
        ({"fraction": 0}, "fraction=0; wanted a number above 0, up to 1"),
        ({"per": "uid"}, "per= needs fraction="),
        ({"pick": "random"}, "pick= needs fraction="),
        ({"fraction": 0.1, "pick": "some"}, "pick='some'; wanted 'highest', 'lowest' or 'random'"),
        ({"top": 0}, "top=0; wanted a percentage such as '10%', or an integer of 1 or more"),
        ({"top": "0%"}, "top='0%'; wanted a percentage above 0"),
        ({"top": "many"}, "top='many'; wanted a percentage"),
        ({"top": 1, "bottom": 1}, "top= and bottom= are given"),
        ({"balance": True}, "balance= needs rows=: how many"),
        ({"rows": 5}, "rows= needs balance= or target="),
        ({"balance": True, "target": "x", "rows": 1}, "balance= and target= are given"),
        ({"above": float("nan")}, "above=nan; wanted a finite number"),
        ({"bins": 0}, "bins=0; wanted an integer from 1 to 10000"),
        ({"seed": -1}, "seed=-1; wanted an integer of 0 or more"),
        ({"where": 3}, "where=3; wanted SQL or an expression"),
        ({"on": "uid"}, "on= needs metadata="),
        ({"seed": 1}, "seed= has no effect: nothing is chosen at random"),
        ({"fraction": 0.5, "seed": 1}, "seed= has no effect"),
        ({"bins": 9}, "bins= needs balance=, or a target= of other scores"),
        ({"target": {"edges": [0, 1], "weights": [1]}, "rows": 3, "bins": 9}, "bins= needs bal"),
        ({"target": "t.json", "rows": 3, "bins": 9}, "bins= needs balance="),
    ],
)
def test_options_that_are_wrong(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        cs.select(FRAME, **options)


def test_no_row_with_a_score() -> None:
    frame = FRAME.with_columns(status=pl.lit("missing"))
    with pytest.raises(cs.SelectionError, match="none of 300 rows has a status of 'ok'"):
        cs.select(frame)


def test_strata_of_nothing_are_refused() -> None:
    frame = FRAME.with_columns(kind=pl.lit(None, pl.String))
    with pytest.raises(cs.SelectionError, match="'kind' is null in every row"):
        cs.select(frame, fraction=0.1, per="kind")


def test_uids_of_the_samples_differ() -> None:
    assert len({uid(i) for i in range(1000)}) == 1000
