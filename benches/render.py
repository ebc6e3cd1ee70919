"""What was measured, as a table of 80 columns and as Markdown."""

import sys

HEAD = ("job", "clipsoid", "peer", "limit", "ratio", "mark", "met")
WIDTHS = (27, 9, 9, 9, 7, 11, 5)


def say(text):
    """Tell whoever waits what is being measured."""
    print(f"... {text}", file=sys.stderr, flush=True)


def seconds(x):
    """Three digits."""
    return "" if x is None else f"{x:.3f} s" if x < 9.995 else f"{x:.1f} s"


def size(x):
    """Megabytes, or gigabytes."""
    return "" if x is None else f"{x / 1e6:.0f} MB" if x < 1e9 else f"{x / 1e9:.1f} GB"


def error(x):
    """Two digits."""
    return "" if x is None else f"{x:.0e}"


def rows(n):
    """As a power of ten where it is one, else in thousands."""
    text = f"{n:.0e}".replace("e+0", "e")
    return text if float(text) == n else f"{n:,}"


def _met(holds):
    return "yes" if holds else "NO"


def _title(text):
    return (text, *[""] * (len(HEAD) - 1))


def _ratio(x):
    return f"{x:.2f}" if x >= 0.095 else f"{x:.3f}"


def _at_most(value, mark, show):
    if value is None or mark is None:
        return ("", "")
    return (f"<= {show(mark)}", _met(value <= mark))


def marks(found):
    """Lines of the table, as tuples of text: one per mark."""
    lines = [line for job in found["jobs"] for line in _job_lines(job)]
    lines += [line for job in found["scaling"] for line in _scaling_lines(job)]
    if "analyze" in found:
        lines += _analysis_lines(found["analyze"])
    if "report" in found:
        lines += _report_lines(found["report"])
    if "remote" in found:
        lines += _remote_lines(found["remote"])
    if "import" in found:
        value, mark = found["import"]["seconds"], found["import"]["mark"]
        verdict = _at_most(value, mark, "{} s".format)
        lines.append(("import, beyond numpy", seconds(value), "", "", "", *verdict))
    if "large" in found:
        large = found["large"]
        lines.append(_title(f"{large['job']}, {rows(large['rows'])} rows"))
        times = (seconds(large["seconds"]), "", seconds(large["limit"]))
        lines.append(("  of limit", *times, f"{large['seconds'] / large['limit']:.2f}", "", ""))
        verdict = _at_most(large["memory"], large["mark"], size)
        lines.append(("  memory in all", size(large["memory"]), "", "", "", *verdict))
        lines.append(("  error", error(large["error"]), "", "", "", "", ""))
    if "cached" in found:
        job = found["cached"]
        lines.append(_title(f"{job['job']}, {rows(job['rows'])} rows"))
        times = (seconds(job["seconds"]), "", seconds(job["limit"]), _ratio(job["ratio"]))
        lines.append(("  of limit", *times, *_at_most(job["ratio"], job["ratio_mark"], _ratio)))
        verdict = _at_most(job["memory"], job["mark"], size)
        lines.append(("  memory in all", size(job["memory"]), "", "", "", *verdict))
    return lines


def _job_lines(job):
    times, best = job["seconds"], job["best_peer"]
    yield _title(f"{job['job']}, {rows(job['rows'])} rows; peer: {best}")
    own, limit = seconds(times["clipsoid"]), seconds(times.get("limit"))
    for line in job["marks"]:
        against = line["against"]
        peer = seconds(times[best if against == "limit" else against])
        ratio = _ratio(line["ratio"])
        verdict = _at_most(line["ratio"], line["mark"], _ratio)
        yield (f"  of {against}", own, peer, limit, ratio, *verdict)
    if job["elements"]:
        each = (f"{times[name] / job['elements'] * 1e9:.2f}" for name in ("clipsoid", best))
        yield ("  ns per element", *each, "", "", "", "")
    for what, show in (("memory", size), ("error", error)):
        own = job[what]["clipsoid"]
        verdict = _at_most(own, job[f"{what}_mark"], show)
        yield (f"  {what}", show(own), show(job[what][best]), "", "", *verdict)


def _scaling_lines(job):
    mark, ratio = job["mark"], job["ratio"]
    first, second = map(seconds, job["seconds"])
    few, many = map(rows, job["rows"])
    if job["job"].startswith("growth"):
        title, peer, sign, holds = f"{few} to {many} rows", f"{few} rows", "<=", ratio <= mark
    else:
        title, peer, sign, holds = f"{many} rows", "1 thread", ">=", ratio >= mark
    yield _title(f"{job['job']}, {title}")
    verdict = (f"{sign}{mark}", _met(holds))
    yield (f"  peer: {peer}", second, first, "", f"{ratio:.2f}", *verdict)
    if "memory" in job:
        verdict = _at_most(job["memory"], job["memory_mark"], size)
        yield ("  memory", size(job["memory"]), "", "", "", *verdict)


def _analysis_lines(job):
    yield _title(f"{job['job']}, {rows(job['rows'])} pairs")
    for what, name in (("quick", "without SVM, normality"), ("all", "with both")):
        verdict = _at_most(job[what], job[f"{what}_mark"], "{:g} s".format)
        yield (f"  {name}", seconds(job[what]), "", "", "", *verdict)
    verdict = _at_most(job["memory"], job["memory_mark"], size)
    yield ("  memory", size(job["memory"]), "", "", "", *verdict)
    for name, time in job["parts"].items():
        yield (f"  part: {name}", seconds(time), "", "", "", "", "")


def _report_lines(job):
    yield _title(f"{job['job']}, {rows(job['rows'])} pairs")
    verdict = _at_most(job["write"], job["write_mark"], "{:g} s".format)
    yield ("  written", seconds(job["write"]), "", "", "", *verdict)
    if job["draw"] is not None:
        verdict = _at_most(job["draw"], job["draw_mark"], "{:g} s".format)
        yield ("  opened and drawn", seconds(job["draw"]), "", "", "", *verdict)
    verdict = _at_most(job["size"], job["size_mark"], size)
    yield ("  size", size(job["size"]), "", "", "", *verdict)


def _remote_lines(job):
    yield _title(f"{job['job']}, {rows(job['rows'])} rows; peer: obstore, plain")
    times = (seconds(job["seconds"]["clipsoid"]), seconds(job["seconds"]["obstore"]), "")
    verdict = _at_most(job["ratio"], job["mark"], _ratio)
    yield ("  of the same ranged reads", *times, _ratio(job["ratio"]), *verdict)
    least = job["in_flight_mark"]
    met = _met(job["in_flight"] >= least)
    yield ("  requests in flight", str(job["in_flight"]), "", "", "", f">= {least}", met)
    verdict = _at_most(job["fetched"], 1.0, "{:.3f}".format)
    yield ("  bytes fetched / needed", f"{job['fetched']:.3f}", "", "", "", *verdict)


def text(lines):
    """The table, at most 80 columns wide."""
    yield _row(HEAD)
    yield "-" * 80
    for line in lines:
        # A title stands across the empty columns.
        yield line[0] if not any(line[1:]) else _row(line)


def _row(cells):
    first, *rest = zip(cells, WIDTHS, strict=True)
    cut = first[0][: first[1]].ljust(first[1])
    return (cut + "".join(cell.rjust(width) for cell, width in rest)).rstrip()


def _table(head, lines):
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    for line in lines:
        yield f"| {' | '.join(line)} |"
    yield ""


def markdown(found, lines):
    """Everything, with the machine."""
    about = found["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    out = [
        "# Benchmarks",
        "",
        f"{about['cpu']}, {about['cores']} cores, {about['memory_gib']} GiB, {about['simd']}; "
        f"{about['system']}; {versions}.",
        "",
        *(
            []
            if "torch" in about["versions"]
            else ["torch is not installed: its rows are missing.", ""]
        ),
        "Times are medians of interleaved rounds, ratios medians of the ratios within a round. "
        "Memory is peak anonymous memory above input and imports; error is the largest deviation "
        "from float64.",
        "",
        *_table(HEAD, [_titled(line) for line in lines]),
        "## Contenders",
        "",
    ]
    contenders = [
        (
            f"{job['job']}, {rows(job['rows'])}",
            name + _once(job["rounds"], name),
            seconds(time),
            f"{time / job['seconds']['clipsoid']:.2f}",
            size(job["memory"].get(name)),
            error(job["error"].get(name)),
        )
        for job in found["jobs"]
        for name, time in job["seconds"].items()
    ]
    out += _table(("job", "contender", "time", "of clipsoid's", "memory", "error"), contenders)
    if "figures" in found:
        out += _figures(found["figures"])
    return "\n".join(out)


def _once(times, name):
    return " (one round)" if len(times[name]) < len(times["clipsoid"]) else ""


def _titled(line):
    return line if any(line[1:]) else (f"**{line[0]}**", *line[1:])


def _figures(figures):
    """The machine's limits, and the product's share of them."""
    yield "## The machine"
    yield ""
    product = seconds(figures["numpy_product_seconds"])
    yield f"One numpy float32 product of 5,000 x 5,000 x 512 takes {product}."
    yield ""
    columns = figures["limits"]
    head = ("limit", *(f"{column['threads']} threads" for column in columns))
    names = [name for name in columns[0] if name != "threads"]
    yield from _table(head, [(n, *(str(column[n]) for column in columns)) for n in names])
    if figures["product"]:
        yield "Products of 256 x 256 tiles, one thread, GFLOP/s and share of the peak:"
        yield ""
        kinds = [name for name in figures["product"][0] if name not in ("dtype", "depth")]
        yield from _table(
            ("dtype", "depth", *kinds),
            [
                (line["dtype"], str(line["depth"]), *(_share(line, kind) for kind in kinds))
                for line in figures["product"]
            ],
        )


def _share(line, kind):
    return f"{line[kind]:.0f} ({line[kind] / line['peak']:.0%})"
