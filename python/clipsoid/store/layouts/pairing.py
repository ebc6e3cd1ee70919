"""Whether the images and the texts of a set are pairs: by counts, by ids, and by their cosines."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from clipsoid import _native
from clipsoid._shown import Shown
from clipsoid.errors import MismatchError, ShapeError
from clipsoid.store.base import Shard, Store
from clipsoid.store.layouts.names import number_of
from clipsoid.store.layouts.reordered import ReorderedShard, order_by
from clipsoid.store.layouts.sample import PLACES, Array, has_windows, places, rows_at, spread

#: Columns that name a row, in the order in which they are looked for.
ID_COLUMNS = ("uid", "id", "key", "sample_id", "image_id")

#: Fewer pairs than this cannot tell.
LEAST_PAIRS = 20

#: Ids of each shard of texts that are looked for among all images, where no shards share any.
SOME_IDS = 64

#: Of the one-sided test: pairs in the wrong order pass it once in so many.
LEVEL = 1e-3


@dataclass(frozen=True, slots=True)
class PairCheck(Shown):
    """What a sample says of whether row `j` of the images and row `j` of the texts are a pair.

    Attributes
    ----------
    count : int
        Pairs of the set.
    sample : int
        Valid pairs that were looked at.
    cosine : float
        Mean cosine of these pairs, in [-1, 1].
    shuffled_cosine : float
        The same with another text of the sample in place of each one's own.
    statistic : float
        Student's t of the difference of the two cosines of each image.
    p_value : float
        Probability of so large a t if the order of the texts were one of chance (one-sided; by
        Wallace's normal approximation, good to 2 % of its value).
    id_column : str or None
        Column by which both sides were paired; None where they have none in common, or share one
        metadata file: rows are paired by their numbers, then.
    """

    count: int
    sample: int
    cosine: float
    shuffled_cosine: float
    statistic: float
    p_value: float
    id_column: str | None

    @property
    def is_paired(self) -> bool | None:
        """Whether pairs are nearer than chance at a level of 0.001; None of fewer than 20."""
        return None if self.sample < LEAST_PAIRS else self.p_value < LEVEL


def check_shards(image: Store, text: Store) -> None:
    """Refuse two sides of a set whose shards do not go together, naming the first that does not.

    Raises
    ------
    MismatchError
    """
    if image.dim != text.dim:
        raise MismatchError(
            f"{image.shards[0].path}: rows have {image.dim} features, those of "
            f"{text.shards[0].path} have {text.dim}; wanted the same"
        )
    check_numbers(image, text)
    for left, right in zip(_filled(image), _filled(text), strict=False):
        if left.count != right.count:
            raise MismatchError(
                f"{left.path}: has {left.count} rows, {right.path} has {right.count}; wanted pairs"
            )
    if image.count != text.count:
        raise MismatchError(
            f"{image.shards[0].path.parent}: {len(image.shards)} shards have {image.count} rows, "
            f"{len(text.shards)} in {text.shards[0].path.parent} have {text.count}; wanted pairs"
        )


def check_numbers(image: Store, text: Store) -> None:
    """Refuse a numbered shard that the other side has none of the same number for.

    Rows are paired in the order of the shards: where one is missing on each side, as many rows may
    be there, and all that follow it would have strangers for partners.

    Raises
    ------
    MismatchError
    """
    sides = [_filled(image), _filled(text)]
    numbers = [[number_of(shard.path) for shard in side] for side in sides]
    if None in numbers[0] + numbers[1]:
        return
    for side, others, missing in zip(sides, numbers[::-1], ("texts", "images"), strict=True):
        for shard in side:
            if number_of(shard.path) not in others:
                raise MismatchError(
                    f"{shard.path}: there are no {missing} of this number; wanted both"
                )


def paired_by_id(image: Store, text: Store) -> tuple[Store, str | None]:
    """Bring the texts into the order of the images, where each side has ids of its own.

    They are compared shard by shard. The second that is returned is their column; None where rows
    are paired by their numbers: the sides have no id in common, or share one metadata file.

    Raises
    ------
    MismatchError
        If only some shards have ids, only some ids are on both sides, or an id is null or there
        twice where the order differs.
    """
    images, texts = _filled(image), _filled(text)
    if [shard.count for shard in images] != [shard.count for shard in texts]:
        # Cut in two ways, rows go by their numbers in all, or are refused by whoever pairs them.
        return text, None
    sides = [pair for pair in zip(images, texts, strict=True) if not _share_ids(*pair)]
    column = _id_column(sides)
    if column is None:
        return text, None
    moved: dict[str, Shard] = {}
    strangers: list[tuple[Shard, Shard]] = []
    for left, right in sides:
        ours, theirs = (one.columns([column]).to_series() for one in (left, right))
        if ours.equals(theirs, null_equal=True):
            continue
        if ours.dtype == theirs.dtype and not ours.is_in(theirs.implode()).any():
            strangers.append((left, right))
            continue
        order_by(right, left, column)
        moved[right.name] = ReorderedShard.by(right, left, column)
    if len(strangers) == len(sides):
        # Images and texts have names of their own.
        _check_nowhere(sides, column)
        return text, None
    for left, right in strangers:
        order_by(right, left, column)
    return replace(text, shards=tuple(moved.get(one.name, one) for one in text.shards)), column


def some_shards(image: Store, text: Store) -> tuple[Store, Store]:
    """Return the shards of a sample: all of a few, or as many pairs of them as there are places."""
    images, texts = _filled(image), _filled(text)
    if len(images) != len(texts) or len(images) <= PLACES:
        return image, text
    return replace(image, shards=tuple(spread(images))), replace(text, shards=tuple(spread(texts)))


def _check_nowhere(sides: list[tuple[Shard, Shard]], column: str) -> None:
    """Refuse ids of texts that images have in a shard of another place; the first of each tell."""
    import polars as pl

    heads = [right.columns([column]).to_series().head(SOME_IDS) for _, right in sides]
    some = pl.concat(heads).drop_nulls()
    for left, right in sides:
        ids = left.columns([column]).to_series()
        met = ids.filter(ids.is_in(some.implode()))
        if len(met):
            there = next(
                other
                for (_, other), head in zip(sides, heads, strict=True)
                if head.is_in(met.head(1).implode()).any()
            )
            raise MismatchError(
                f"{left.path}: {column} {met[0]!r} is in {there.path}, not in {right.path}; "
                "wanted the same ids in shards of the same place"
            )


def _share_ids(left: Shard, right: Shard) -> bool:
    """Whether one file describes the rows of both."""
    return left.path == right.path or bool(left.metadata and left.metadata == right.metadata)


def _id_column(sides: list[tuple[Shard, Shard]]) -> str | None:
    """Return the id column that all shards of both sides have, or None if none has one."""
    common = [left.schema().keys() & right.schema().keys() for left, right in sides]
    found = [[name for name in ID_COLUMNS if name in names] for names in common]
    if not any(found):
        return None
    everywhere = [name for name in ID_COLUMNS if all(name in names for names in found)]
    if everywhere:
        return everywhere[0]
    first = next(filter(None, found))[0]
    left, right = next(pair for pair, names in zip(sides, found, strict=True) if first not in names)
    raise MismatchError(
        f"{left.path} and {right.path}: have no column {first!r} in common, as other shards of "
        "these sets have; wanted ids in all of them, or in none"
    )


def check_cosines(
    image: Store, text: Store, *, sample: int, seed: int, id_column: str | None = None
) -> PairCheck:
    """Compare the cosines of pairs with those of images and texts that are none.

    Raises
    ------
    ShapeError
        If there are not as many images as texts.
    """
    if image.count != text.count:
        raise ShapeError(
            f"image has {image.count} rows, text has {text.count}; wanted pairs, row by row"
        )
    images, texts = _sampled(image, text, sample, seed)
    own, *status = _native.cosines(images, "float64", texts, "float64", None)
    valid = (status[0] == 0) & (status[1] == 0)
    own, images, texts = own[valid], images[valid], texts[valid]
    count = len(own)
    if count < 2:
        return PairCheck(image.count, count, math.nan, math.nan, 0.0, 1.0, id_column)
    # Each one's text goes to the next in a random circle: no text stays where it was.
    order = np.random.default_rng(seed).permutation(count)
    other = np.empty(count, np.int64)
    other[order] = np.roll(order, 1)
    shuffled, *_ = _native.cosines(images, "float64", texts[other], "float64", None)
    difference = own - shuffled
    error = float(difference.std(ddof=1)) / math.sqrt(count)
    statistic = float(difference.mean()) / error if error > 0 else 0.0
    return PairCheck(
        image.count,
        count,
        float(own.mean()),
        float(shuffled.mean()),
        statistic,
        _upper_tail(statistic, count - 1),
        id_column,
    )


def _sampled(image: Store, text: Store, most: int, seed: int) -> tuple[Array, Array]:
    """Read the same rows of both sides."""
    if [shard.count for shard in image.shards] == [shard.count for shard in text.shards]:
        # Where only the beginning of a shard can be read, that is what is taken of its partner.
        chosen = places(image if all(map(has_windows, text.shards)) else text, most, seed)
        same = [(rows_at(image, place), rows_at(text, place)) for place in chosen]
        return _stacked(same)
    parts: list[tuple[Array, Array]] = []
    starts = [np.cumsum([0, *(shard.count for shard in store.shards)]) for store in (image, text)]
    for i, first, count in places(image, most, seed):
        place = int(starts[0][i]) + first
        j = int(np.searchsorted(starts[1], place, side="right")) - 1
        count = min(count, int(starts[1][j + 1]) - place)
        there = j, place - int(starts[1][j]), count
        parts.append((rows_at(image, (i, first, count)), rows_at(text, there)))
    return _stacked(parts)


def _stacked(parts: list[tuple[Array, Array]]) -> tuple[Array, Array]:
    left, right = zip(*parts, strict=True)
    return np.concatenate(left), np.concatenate(right)


def _upper_tail(statistic: float, degrees: int) -> float:
    """Return the upper tail of Student's t: Wallace, Ann. Math. Stat. 30 (1959) 1124."""
    scale = (8 * degrees + 1) / (8 * degrees + 3)
    z = scale * math.sqrt(degrees * math.log1p(statistic**2 / degrees))
    return math.erfc(math.copysign(z, statistic) / math.sqrt(2)) / 2


def _filled(store: Store) -> list[Shard]:
    return [shard for shard in store.shards if shard.count]
