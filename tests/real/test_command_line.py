"""The real pairs through the command line: the figures that an independent program gives."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from bounds import stated, stated_conformity

#: Score files hold float32: half a unit in the last place of 1.
ROUNDING = 2.0**-24


def clipsoid(folder: Path, *arguments: object) -> Any:
    command = [sys.executable, "-m", "clipsoid", *map(str, arguments), "--json", "--quiet"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("modality", ["image", "text"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_real_pairs(tmp_path: Path, real_data, modality: str, dtype: str) -> None:
    want = json.loads(real_data("coco500_expected.json").read_text())[modality]
    embeddings = real_data("coco500_clip_vitb16.npz")
    source: tuple[object, ...] = (embeddings, "--key", modality)
    if dtype == "float64":
        with np.load(embeddings) as members:
            np.save(tmp_path / "wide.npy", members[modality].astype(np.float64))
        source = ("wide.npy",)

    fitted = clipsoid(tmp_path, "fit", *source, "--out", "e.ellipsoid")
    assert (fitted["count"], fitted["dim"]) == (want["count"], want["dim"])
    assert fitted["is_normalized"] is True and fitted["dtypes"] == [dtype]
    figures = {
        "mean_norm": fitted["mean_norm"],
        "center_ratio": fitted["center_ratio"],
        "conformity_mean": fitted["mean_conformity"],
        "odd_over_null_median": fitted["off_diagonal_dominance_over_null_median"],
    }
    for name, got in figures.items():
        assert abs(got - want[name]) <= stated(dtype, want[name]), name

    for i, against in enumerate([(), ("--ellipsoid", "e.ellipsoid")]):
        written = clipsoid(tmp_path, "score", *source, "--out", f"s{i}", *against)
        assert written["member"] is True and written["status"]["ok"] == want["count"]
        table = pl.read_parquet(tmp_path / f"s{i}" / "*.parquet")
        conformity = table["conformity"].to_numpy().astype(np.float64)
        bound = stated_conformity(dtype) + ROUNDING
        assert np.abs(conformity[:5] - want["conformity_first5"]).max() <= bound
        assert conformity.argmax() == want["conformity_argmax"]
        assert conformity.argmin() == want["conformity_argmin"]
        assert abs(conformity.std() - want["conformity_std"]) <= bound
        slope, intercept = np.polyfit(table["cosine_to_mean"].to_numpy(), conformity, 1)
        # A straight line through 500 rounded points: the slope is off by rounding over spread.
        line = ROUNDING * 4 / want["conformity_std"]
        assert (
            np.abs([slope, intercept] - np.array(want["fit_conformity_from_cosine_a_b"])).max()
            < line
        )
