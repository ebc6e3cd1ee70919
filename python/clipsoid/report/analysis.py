"""The page of an analysis: its first screen, and the sections below it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from clipsoid.report.blocks import Explorer, Page, Section, Verdict, cut
from clipsoid.report.charts.conformity import conformity_figure
from clipsoid.report.charts.sweep import sweep_figure
from clipsoid.report.marks import number
from clipsoid.report.thumbnails import Thumbnails

if TYPE_CHECKING:
    from clipsoid.analysis import Analysis


def analysis_page(found: Analysis, *, title: str | None = None, root: Path | None = None) -> Page:
    """Return all that a report of an analysis says."""
    pictures = Thumbnails(root)
    sections = [
        Section("loss", "The loss and the centre", "", (sweep_figure(found.loss_sweep),)),
        Section("conformity-part", "Conformity", "", (conformity_figure(found),explore(found,"image",pictures))),
    ]
    return Page(
        title or "Two ellipsoids",
        "5,000 pairs",
        tuple(Verdict(v.name, v.holds, v.figure) for v in found.verdicts),
        (("loss", number(1.234)),),
        found.warnings,
        tuple(sections),
        (("version", found.version),),
        tuple(pictures.made),
        {"format": "clipsoid.analysis", "text": found.to_json()},
    )

def explore(found,name,pictures):
    s=getattr(found,name).sample
    cap={r:c for r,c in zip(found.items["row"],found.items["caption"])}
    return Explorer(f"rows-{name}", f"conformity-conformity-{name}", "Rows", "conformity", {
      "row":s.row.tolist(),"conformity":s.conformity.tolist(),"cosine_to_mean":s.cosine_to_mean.tolist(),"norm":s.norm.tolist(),
      "caption":[cut(cap.get(r)) for r in s.row.tolist()]}, (), getattr(found,name).count)
