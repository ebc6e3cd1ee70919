"""How results show themselves in a notebook: short, escaped, without the numbers of arrays."""

from __future__ import annotations

import html
import pickle
import re
from dataclasses import is_dataclass, replace
from html.parser import HTMLParser
from typing import Any

import numpy as np
import polars as pl
import pytest

import clipsoid as cs
from clipsoid._shown import LONGEST, MOST_LINES, Drawn, Shown, lines
from unit.samples import run_python

#: What is public and no result: options and parts are in results, and tuples show themselves.
APART = re.compile(r"Options$|Part$|Error$|Warning$|^Store$")


def public() -> dict[str, type]:
    found = {name: getattr(cs, name) for name in cs.__all__}
    found |= {name: getattr(cs.analysis, name) for name in cs.analysis.__all__}
    return {name: one for name, one in found.items() if isinstance(one, type)}


RESULTS = {
    name: one
    for name, one in public().items()
    if not APART.search(name) and not issubclass(one, tuple)
}


class Words(HTMLParser):
    """The tags and the text of a page, which must be well formed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.add(tag)
        if tag != "br":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.text.append(data)


def read(result: Any) -> Words:
    words = Words()
    words.feed(result._repr_html_())
    words.close()
    assert not words.open
    return words


@pytest.fixture(scope="module")
def pair() -> Any:
    image, text, _ = cs.double_ellipsoid(400, dim=32, seed=3)
    return image, text


@pytest.fixture(scope="module")
def analysis(pair: Any) -> cs.Analysis:
    left_out = ("linear_separability", "normality", "blur")
    return cs.analyze(*pair, leave_out=left_out, alphas=[-0.5, 0.0, 0.5])


@pytest.fixture(scope="module")
def results(
    pair: Any, analysis: cs.Analysis, tmp_path_factory: pytest.TempPathFactory
) -> list[Any]:
    image, text = pair
    file = tmp_path_factory.mktemp("set") / "pairs.npz"
    np.savez(file, image=image, text=text)
    opened = cs.open_set(file)
    e = cs.Ellipsoid.fit(image)
    whitening = cs.Whitening.from_ellipsoid(e)
    grid = cs.vslerp_grid(image[0], image[1], [0.0, 1.0], [0.0], e, rows=image)
    return [
        opened,
        opened.check_pairs(),
        e.norms,
        e.invalid,
        e.shell(image),
        e.calibrate(image),
        e.score(image, member=True),
        e,
        cs.contrastive_loss(image, text, per_pair=True),
        cs.retrieval_ranks(image, text),
        (false_negatives := cs.false_negatives(image, text)),
        false_negatives.image_to_text,
        cs.similarity_histogram(image),
        cs.loss_sweep(image, text, alphas=[0.0, 0.5]),
        cs.match_sweep(image, text, alphas=[0.0, 0.5]),
        cs.divergence(e.conformity(image), e.conformity(text), interval=0.9),
        cs.conformity_difference(image, text),
        cs.modality_gap(image, text),
        cs.linear_separability(image, text),
        cs.strongest_features(image),
        whitening.normality(image),
        whitening,
        cs.GroupedEllipsoids.fit(image, [i % 3 for i in range(400)]),
        grid,
        grid.nearest,
        (blur := cs.blur_experiment()),
        blur.shifted,
        (comparison := compared(image, text)),
        comparison.reference,
        comparison.candidates["texts"],
        comparison.tests[0],
        analysis,
        *(analysis.image, analysis.similarities, analysis.retrieval, analysis.plane),
        *(analysis.features[0], analysis.conformity_difference, analysis.verdicts[0]),
        *(analysis.image.sample, analysis.image.highest, analysis.image.conformity),
        *(analysis.retrieval.image_link, analysis.retrieval.text_to_image),
        (selection := cs.select(pl.DataFrame({"conformity": e.conformity(image)}), top="10%")),
        selection.before,
        cs.analysis.Normalities(*[whitening.normality(image)] * 2),
    ]


def compared(image: Any, text: Any, name: str = "texts") -> cs.Comparison:
    return cs.compare(image[:300], {name: text[:100], "images": image[300:]})


@pytest.mark.parametrize("name", RESULTS)
def test_every_public_result_shows_itself(name: str) -> None:
    one = RESULTS[name]
    assert issubclass(one, Shown), f"{name}: a result that no notebook shows as a table"
    assert is_dataclass(one) or one is cs.Ellipsoid


def test_every_public_result_is_among_those_below(results: list[Any]) -> None:
    assert set(map(type, results)) == set(RESULTS.values())


def test_tables_are_short_and_well_formed(results: list[Any]) -> None:
    for result in results:
        words = read(result)
        assert words.text[0] == type(result).__name__
        assert "script" not in words.tags
        assert sum(1 for _ in lines(result)) <= MOST_LINES
        for text in words.text:
            assert len(text) <= LONGEST + 1, (type(result), text)
            # Neither numpy's nor Python's own way of writing what has no text of its own.
            assert "array(" not in text and " object at " not in text and "shape: (" not in text[1:]
            for digits in re.findall(r"\d+\.\d+", text):
                # Ours are six; polars writes six decimals; Python as many as there are, mostly 16.
                assert len(digits.lstrip("0.").replace(".", "")) <= 10, (type(result), text)


def test_slots_stay_slots(results: list[Any]) -> None:
    for result in results:
        params = getattr(type(result), "__dataclass_params__", None)
        if params is not None and getattr(params, "slots", "__slots__" in vars(type(result))):
            assert not hasattr(result, "__dict__"), type(result)
    shell = results[2]
    assert pickle.loads(pickle.dumps(shell)) == shell


def test_figures_are_those_of_the_result(pair: Any) -> None:
    image, text = pair
    shell = cs.Ellipsoid.fit(image).shell(image)
    assert dict(lines(shell)) == {
        "count": "400",
        **{
            name: f"{getattr(shell, name):.6g}"
            for name in ("mean", "variance", "min", "max", "rms", "relative_error")
        },
    }
    ranks = cs.retrieval_ranks(image, text)
    shown = dict(lines(ranks))
    low, high = ranks.image_to_text.min(), ranks.image_to_text.max()
    assert shown["image_to_text"] == f"float64 (400,): {low:g} to {high:g}"
    medians = ranks.median_rank
    assert shown["median_rank"] == f"image_to_text {medians[0]:g}, text_to_image {medians[1]:g}"
    sweep = cs.loss_sweep(image, text, alphas=[0.0, 0.5])
    shown = dict(lines(sweep))
    assert shown["best_alpha"] == f"{sweep.best_alpha:g}"
    assert shown["options.alphas"] == "0, 0.5"
    # What the sweep says itself is not said again.
    assert "temperature" in shown and "options.temperature" not in shown
    assert dict(lines(cs.loss_sweep(image, text)))["options.alphas"] == "41 numbers from -1 to 1"


def test_scores_count_what_is_wrong_with_rows() -> None:
    x = np.ones((5, 3))
    x[1] = np.nan
    x[3] = 0
    scores = cs.Ellipsoid.fit(np.eye(3)).score(x, on_invalid="null")
    shown = dict(lines(scores))
    assert shown["status"] == "ok 3, non_finite 1, zero_norm 1"
    assert shown["conformity"].endswith("; 2 not finite")
    assert read(scores).text[:2] == ["Scores", "(5 rows, 2 invalid)"]


def test_arrays_of_nothing_and_of_nan() -> None:
    def shown(array: np.ndarray) -> str:
        return dict(lines(cs.NearestRows(np.zeros(1, np.int64), array, 9, 2, "float32")))[
            "similarity"
        ]

    assert shown(np.zeros((0, 2))) == "float64 (0, 2)"
    assert shown(np.full(3, np.nan)) == "float64 (3,): none is finite"
    assert shown(np.array([1.0, np.inf])) == "float64 (2,): 1 to 1; 1 not finite"


def test_names_are_escaped(pair: Any) -> None:
    name = '<b>bold</b><script>alert("x")</script> & more'
    comparison = compared(*pair, name)
    words = read(comparison)
    assert "script" not in words.tags
    assert name not in comparison._repr_html_()
    # In its own words, and among the candidates; frames cut it.
    assert comparison._repr_html_().count(html.escape(name)) == 2
    page = compared(*pair, "<i>x</i>")._repr_html_()
    assert page.count("&lt;i&gt;x&lt;/i&gt;") == 4 and "<i>" not in page
    candidate = comparison.candidates[name]
    assert dict(lines(candidate))["name"] == name and name in read(candidate).text
    assert name not in candidate._repr_html_()


def test_long_names_are_cut(pair: Any) -> None:
    candidate = compared(*pair, "n" * 5_000).candidates["n" * 5_000]
    assert dict(lines(candidate))["name"] == f"{'n' * LONGEST}…"


def test_many_lines_are_counted(pair: Any) -> None:
    candidate = compared(*pair).candidates["texts"]
    many = replace(candidate, quantiles={f"q{i:02d}": float(i) for i in range(60)})
    every = len(dict(lines(many)))
    words = read(many)
    assert every > MOST_LINES and f"{every - MOST_LINES} more" in words.text
    assert many._repr_html_().count("<tr>") == MOST_LINES + 1


def test_frames_are_below(pair: Any) -> None:
    image, text = pair
    for result, names in (
        (cs.strongest_features(image), ["by_ratio", "by_mean"]),
        (compared(image, text), ["table", "tests_table"]),
        (cs.loss_sweep(image, text, alphas=[0.0]), ["table"]),
    ):
        page = result._repr_html_()
        at = [page.index(f"<code>{name}</code>") for name in names]
        assert at == sorted(at)
        for name in names:
            frame = getattr(result, name)
            assert isinstance(frame, pl.DataFrame) and frame._repr_html_() in page
            assert name not in dict(lines(result))


def test_an_ellipsoid_of_nothing_or_of_one_row() -> None:
    shown = dict(lines(cs.Ellipsoid(3)))
    assert (shown["count"], shown["norms"], shown["center_ratio"]) == ("0", "None", "None")
    shown = dict(lines(cs.Ellipsoid.fit(np.ones((1, 3)))))
    assert (shown["center_ratio"], shown["mean_conformity"]) == ("inf", "None")


def test_an_analysis_answers_first(analysis: cs.Analysis) -> None:
    words = read(analysis)
    text = " ".join(words.text)
    for verdict in analysis.verdicts:
        assert verdict.name in words.text and verdict.figure in words.text
        assert verdict.rule in words.text
    answers = [one.replace("\N{NO-BREAK SPACE}", " ") for one in words.text]
    assert sum("does not hold" in one for one in answers) == sum(
        verdict.holds is False for verdict in analysis.verdicts
    )
    assert sum(one.endswith("\N{CHECK MARK} holds") for one in answers) == sum(
        verdict.holds is True for verdict in analysis.verdicts
    )
    assert "? not judged: left out" in answers
    for warning in analysis.warnings:
        assert warning in text
    assert "0.9400" in words.text and f"{analysis.image.center_ratio:.4f}" in words.text
    assert f"{analysis.text.mean_conformity:.4f}" in words.text
    hostile = replace(analysis, warnings=("<b>x</b>",))
    assert "<b>x</b>" not in hostile._repr_html_()


def test_nothing_is_loaded_to_show_a_result() -> None:
    script = """
import sys, numpy as np, clipsoid
clipsoid.Ellipsoid.fit(np.eye(3))._repr_html_()
assert not {"altair", "polars", "clipsoid.report"} & sys.modules.keys()
"""
    run_python(script)


def test_what_is_drawn_says_so() -> None:
    numbers = {"Norms", "Invalid", "Shell", "ModalityGap"}
    assert not any(hasattr(RESULTS[name], "plot") for name in numbers)
    drawn = {name for name, one in RESULTS.items() if issubclass(one, Drawn)}
    assert {"LossSweep", "Scores", "Ellipsoid", "Comparison"} <= drawn
