"""Images per second of `clipsoid.embed` against the bare model, and what its limit is.

    python benches/embed.py [--device cuda] [--images N] [--workers N] [--model ViT-B-32]

The model has random weights: nothing is downloaded. Two kinds of pictures are made: photographs
(JPEG, 500 x 375), whose decoding may be the limit, and plain ones (uncompressed, of the size of
the model's input), which show what the pipeline itself costs. `bare` is the model on batches that
lie in the device's memory, `decoding` is the workers without a model.
"""

import argparse
import itertools
import json
import os
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from clipsoid.embed import embed, settings
from clipsoid.embed.loader import Place, Work, decoded
from clipsoid.embed.model import Encoder, ModelName, load
from clipsoid.embed.stream import find_batch_size

#: Pictures that differ; the others are links to them.
DIFFERENT = 256


def main():
    options = parse()
    device = settings.devices(options.device)[0]
    on_cpu = device == "cpu"
    precision = options.precision or ("fp32" if on_cpu else "fp16")
    workers = settings.workers(options.workers, [device])
    count = options.images or (192 if on_cpu else 32_768)
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        folder = Path(folder)
        checkpoint = make_checkpoint(folder, options.model)
        model, facts, decoder = load(ModelName(options.model, str(checkpoint), None))
        encoder = Encoder(
            model,
            facts,
            device,
            precision=precision,
            dtype="float16",
            normalize=False,
            compile=options.compile,
        )
        batch = options.batch_size or find_batch_size(encoder, ("image",))
        size = tuple(facts.preprocessing["size"])
        sets = {
            "photographs": make_pictures(folder / "photographs", count, (375, 500), ".jpg"),
            "plain": make_pictures(folder / "plain", count, size, ".bmp"),
        }
        result = {
            "device": settings._hardware(device),
            "processors": len(os.sched_getaffinity(0)),
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
            "model": options.model,
            "precision": precision,
            "compile": options.compile,
            "batch_size": batch,
            "workers": workers,
            "images": count,
        }
        print(json.dumps(result), flush=True)
        bare(encoder, batch, max(2, count // batch // 4))  # warm
        for name, pictures in sets.items():
            rates = {"bare": [], "decoding": [], "pipeline": []}
            busy = []
            batches = max(2, count // batch // 2)
            rates["bare"].append(bare(encoder, batch, batches))
            for turn in range(options.rounds):
                rates["decoding"].append(decoding(decoder, pictures, workers, on_cpu))
                rate, share = pipeline(
                    pictures,
                    folder / f"{name}-{turn}",
                    options,
                    checkpoint,
                    precision,
                    batch,
                    workers,
                    device,
                )
                rates["pipeline"].append(rate)
                busy.append(share)
                rates["bare"].append(bare(encoder, batch, batches))
            report(name, rates, busy, result)
    print(json.dumps(result))


def parse():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--device")
    parser.add_argument("--images", type=int, help="pictures of each kind")
    parser.add_argument("--workers", type=int)
    parser.add_argument("--model", default="ViT-B-32")
    parser.add_argument("--precision", choices=("fp32", "fp16", "bf16"))
    parser.add_argument("--batch-size", type=int)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--folder", help="for the pictures; by default the system's for such")
    return parser.parse_args()


def make_checkpoint(folder, model):
    import open_clip

    torch.manual_seed(0)
    path = folder / "checkpoint.pt"
    torch.save(open_clip.create_model(model).state_dict(), path)
    return path


def make_pictures(folder, count, size, suffix):
    """Gradients, edges and noise: as large when compressed as photographs are."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    height, width = size
    y, x = np.mgrid[0:height, 0:width] / max(size)
    for i in range(min(count, DIFFERENT)):
        picture = np.zeros((height, width, 3))
        for _ in range(12):
            a, b, phase, sharp = rng.normal(size=4)
            wave = np.tanh(4 * abs(sharp) * np.sin(9 * (a * x + b * y) + phase))
            picture += wave[..., None] * rng.uniform(-30, 30, 3)
        picture += 128 + rng.normal(0, 6, (height, width, 1))
        pixels = Image.fromarray(picture.clip(0, 255).astype(np.uint8))
        pixels.save(folder / f"{i:06}{suffix}", **({"quality": 90} if suffix == ".jpg" else {}))
    for i in range(DIFFERENT, count):
        os.link(folder / f"{i % DIFFERENT:06}{suffix}", folder / f"{i:06}{suffix}")
    return folder


def bare(encoder, batch, batches):
    """Images per second of the model alone: input and output stay on the device."""
    images = torch.rand((batch, 3, *encoder.size), device=encoder.device)
    images = images.contiguous(memory_format=torch.channels_last)
    half = {"fp16": torch.float16, "bf16": torch.bfloat16}.get(encoder.precision)
    encode = encoder._encode["image"]
    with (
        torch.inference_mode(),
        torch.autocast(encoder.device.type, half, enabled=half is not None),
    ):
        encode(images, normalize=False)
        wait(encoder)
        start = time.perf_counter()
        for _ in range(batches):
            encode(images, normalize=False)
        wait(encoder)
    return batch * batches / (time.perf_counter() - start)


def wait(encoder):
    if encoder.device.type == "cuda":
        torch.cuda.synchronize(encoder.device)


def decoding(decoder, pictures, workers, on_cpu):
    """Images per second that the workers decode and preprocess, from the first to the last."""
    paths = sorted(map(str, pictures.iterdir()))
    work = [
        Work("image", [Place(path) for path in paths[i : i + 27]]) for i in range(0, len(paths), 27)
    ]
    done, start, last = 0, None, None
    for rows, _ in decoded(decoder, work, workers=workers, pinned=not on_cpu):
        last = time.perf_counter()
        if start is None:
            start = last
        else:
            done += len(rows)
    return done / (last - start) if done else float("nan")


def pipeline(pictures, out, options, checkpoint, precision, batch, workers, device):
    """Images per second from files to shards, from the first batch to the last; device's share."""
    times, counts = [], []

    def progress(images, busy):
        times.append(time.perf_counter())
        counts.append(images)

    made = embed(
        pictures,
        out=out,
        model=options.model,
        pretrained=checkpoint,
        precision=precision,
        dtype="float16",
        batch_size=batch,
        workers=workers,
        device=device,
        compile=options.compile,
        progress=progress,
    )
    assert made.rows == sum(counts), made
    return sum(counts[1:]) / (times[-1] - times[0]), made.device_busy


def report(name, rates, busy, result):
    middle = {part: statistics.median(found) for part, found in rates.items()}
    # Each run is compared with the bare model just before and after it: a machine may be shared.
    bares = rates["bare"]
    around = [(before + after) / 2 for before, after in itertools.pairwise(bares)]
    share = statistics.median(p / b for p, b in zip(rates["pipeline"], around, strict=True))
    of_decoding = middle["pipeline"] / middle["decoding"]
    limit = "the model" if share > of_decoding else "decoding"
    print(f"{name}:")
    for part, found in rates.items():
        spread = f"{min(found):,.1f} to {max(found):,.1f}"
        print(f"  {part:<9} {middle[part]:>10,.1f} images/s   ({spread})")
    print(f"  pipeline / bare       {share:.3f}")
    print(f"  pipeline / decoding   {of_decoding:.3f}   the limit is {limit}")
    print(f"  device busy           {statistics.median(busy):.2f} of the whole run", flush=True)
    result[name] = {
        **middle,
        "pipeline_of_bare": share,
        "pipeline_of_decoding": of_decoding,
        "limit": limit,
        "device_busy": statistics.median(busy),
    }


if __name__ == "__main__":
    main()
