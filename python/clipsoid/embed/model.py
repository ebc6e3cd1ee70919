"""The model: loaded by open_clip, what is known of it, and its features before normalisation."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from reprlib import repr as brief
from typing import TYPE_CHECKING, Any, Literal

from clipsoid.embed.loader import Decoder, Kind
from clipsoid.errors import EmbedError, UnavailableError

if TYPE_CHECKING:
    import torch

Precision = Literal["fp32", "fp16", "bf16"]
PRECISIONS: tuple[Precision, ...] = ("fp32", "fp16", "bf16")

#: What is shown of an error of weights that do not fit: lines, and characters of each.
SHOWN_LINES, SHOWN_WIDTH = 4, 300


@dataclass(frozen=True, slots=True)
class ModelName:
    """Which model: what open_clip needs to load it.

    Attributes
    ----------
    name : str
        A name of open_clip's, ``hf-hub:...`` or ``local-dir:...``.
    pretrained : str or None
        A tag, or the path of a checkpoint; None where `name` brings its own.
    config : str or None
        Path of a JSON file with the architecture that `name` is to mean.
    """

    name: str
    pretrained: str | None
    config: str | None


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What is known of a loaded model; goes into the manifest.

    Attributes
    ----------
    weights : str
        Digest of all weights as loaded (BLAKE2b, 32 hexadecimal digits), whatever file held them.
    dim : int
        Features of an image or a text.
    logit_scale, temperature : float
        Factor of cosines in the model's loss, the exponential of its parameter; and 1 over it.
    logit_bias : float or None
        Of a sigmoid loss (SigLIP); None for a softmax loss.
    context_length : int
        Tokens of a caption.
    preprocessing : dict
        open_clip's, and what is done before it.
    """

    weights: str
    dim: int
    logit_scale: float
    temperature: float
    logit_bias: float | None
    context_length: int
    preprocessing: dict[str, Any]

    @property
    def loss(self) -> str:
        """``"softmax"`` (CLIP) or ``"sigmoid"`` (SigLIP)."""
        return "softmax" if self.logit_bias is None else "sigmoid"


def load(which: ModelName) -> tuple[Any, ModelFacts, Decoder]:
    """Load a model in float32 on the CPU, with what is known of it and its decoder.

    Raises
    ------
    EmbedError
        If the model is not known, or its checkpoint is missing or does not fit.
    """
    import open_clip
    import torch

    _check_known(which)
    try:
        with _errors_only_raised():
            model, preprocess = open_clip.create_model_from_pretrained(which.name, which.pretrained)
            tokenizer = open_clip.get_tokenizer(which.name)
        model.eval().requires_grad_(False)
        with torch.inference_mode():
            tokens = tokenizer(["a photo"])
            dim = model.encode_text(tokens, normalize=False).shape[1]
    except ImportError as error:
        # Some text towers and tokenizers are of another library's.
        raise UnavailableError(f"{_called(which)}: {error}: pip install {error.name}") from None
    except Exception as error:
        # On purpose everything: open_clip, torch, safetensors and the hub raise whatever their code
        # meets in a file that is no checkpoint, or in an architecture that cannot be built.
        raise EmbedError(
            f"{_called(which)}: cannot be loaded: {_said(error)}; wanted {_wanted(which)}"
        ) from None
    height, width = _size(model.visual.preprocess_cfg["size"])
    decoder = Decoder(_until_pixels(preprocess), height, width, tokenizer)
    with torch.inference_mode():
        scale = float(model.logit_scale.float().exp())
        bias = getattr(model, "logit_bias", None)
    facts = ModelFacts(
        weights=_digest(model.state_dict()),
        dim=int(dim),
        logit_scale=scale,
        temperature=1 / scale,
        logit_bias=None if bias is None else float(bias),
        context_length=int(tokens.shape[1]),
        preprocessing={
            **model.visual.preprocess_cfg,
            "size": [height, width],
            "orientation": "as EXIF says",
            "transparency": "over white",
        },
    )
    return model, facts, decoder


def _check_known(which: ModelName) -> None:
    """Refuse what open_clip does not know; a file with an architecture makes its name known."""
    import open_clip

    if which.config is not None:
        _register(which)
    if which.name.startswith(("hf-hub:", "local-dir:")):
        if which.pretrained is not None:
            raise EmbedError(
                f"{which.name}: brings its own weights; wanted no pretrained, found "
                f"{which.pretrained!r}"
            )
        return
    known = open_clip.list_models()
    name = which.name.replace("/", "-")
    if name not in known:
        from difflib import get_close_matches

        near = get_close_matches(name, known, 3, 0.3)
        wanted = (
            f"near it are {', '.join(near)}" if near else f"it knows {', '.join(known[:3])}, ..."
        )
        raise EmbedError(f"{which.name}: open_clip knows no such model; {wanted}")
    tag = which.pretrained
    # open_clip itself says which spellings of a tag it takes.
    if tag is None or not (open_clip.is_pretrained_cfg(name, tag) or Path(tag).is_file()):
        tags = open_clip.list_pretrained_tags_by_model(name)
        if tag is not None and (not tags or Path(tag).suffix or os.sep in tag):
            raise EmbedError(f"{tag}: found no such checkpoint")
        also = f", or one of the tags {', '.join(tags)}" if tags else ""
        found = "" if tag is None else f"pretrained is {tag!r}; "
        raise EmbedError(
            f"{which.name}: {found}wanted --pretrained, the path of a checkpoint{also}"
        )


def _register(which: ModelName) -> None:
    import open_clip

    path = Path(which.config or "")
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise EmbedError(f"{path}: cannot be read: {error}") from None
    needed = ("embed_dim", "vision_cfg", "text_cfg")
    if not isinstance(found, dict) or any(name not in found for name in needed):
        raise EmbedError(f"{path}: is no model's configuration; wanted {', '.join(needed)}")
    for name in ("vision_cfg", "text_cfg"):
        if not isinstance(found[name], dict):
            raise EmbedError(f"{path}: {name} is {brief(found[name])}; wanted an object")
    if path.suffix != ".json" or path.stem != which.name:
        raise EmbedError(f"{path}: defines model {path.stem!r}; wanted {which.name}.json")
    open_clip.add_model_config(path)


@contextmanager
def _errors_only_raised() -> Iterator[None]:
    """Leave out what open_clip logs as an error and raises with the same words."""
    root = logging.getLogger()

    def is_no_error(record: logging.LogRecord) -> bool:
        return record.levelno < logging.ERROR

    root.addFilter(is_no_error)
    try:
        yield
    finally:
        root.removeFilter(is_no_error)


def _said(error: Exception) -> str:
    """Return the type of a foreign error and its first sentence, which torch's advice follows.

    Of weights that do not fit, a few lines: which they are is not in the first.
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if "state_dict" not in str(error):
        lines = [line.partition(". ")[0] for line in lines[:1]]
    more = [f"and {len(lines) - SHOWN_LINES} more"] if len(lines) > SHOWN_LINES else []
    shown = [f"{line[:SHOWN_WIDTH]}..." if len(line) > SHOWN_WIDTH else line for line in lines]
    said = "\n  ".join([*shown[:SHOWN_LINES], *more]).removesuffix(".")
    return f"{type(error).__name__}: {said}".removesuffix(": ")


def _wanted(which: ModelName) -> str:
    """Return what a model that cannot be loaded should be."""
    if which.name.startswith("local-dir:"):
        return "a folder with a model as open_clip saves it"
    if which.name.startswith("hf-hub:"):
        return "a model of open_clip's there, and a network; without one, give --model local-dir:"
    if Path(which.pretrained or "").is_file():
        return "a checkpoint of this architecture"
    return "a network to download it; without one, give --pretrained a checkpoint of this machine"


def _called(which: ModelName) -> str:
    return which.name if which.pretrained is None else f"{which.name} with {which.pretrained}"


def _size(size: int | tuple[int, int]) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else (int(size[0]), int(size[1]))


def _until_pixels(preprocess: Any) -> Any:
    """Return the model's preprocessing without its end, which is done on the device."""
    from torchvision.transforms import Compose, Normalize, ToTensor

    *pixels, to_tensor, normalize = preprocess.transforms
    if not isinstance(to_tensor, ToTensor) or not isinstance(normalize, Normalize):
        raise EmbedError(
            f"this open_clip preprocesses by {preprocess}; wanted ToTensor and Normalize at its end"
        )
    return Compose(pixels)


def _digest(state: dict[str, torch.Tensor]) -> str:
    import torch

    digest = blake2b(digest_size=16)
    for name, tensor in sorted(state.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


class Encoder:
    """A model on its device: pixels and tokens in, features as they are to be written out.

    Parameters
    ----------
    model : torch.nn.Module
        As `load` gives it; it is moved to the device.
    facts : ModelFacts
        What is known of it.
    device : str
        ``"cpu"``, ``"cuda:0"``.
    precision : {"fp32", "fp16", "bf16"}
        What products are computed in; weights, sums and norms stay float32.
    dtype : {"float16", "float32"}
        What features are converted to.
    normalize : bool
        Whether they are scaled to length 1.
    compile : bool
        Whether both towers go through ``torch.compile``; batches then have one size.
    """

    def __init__(
        self,
        model: Any,
        facts: ModelFacts,
        device: str,
        *,
        precision: Precision,
        dtype: str,
        normalize: bool,
        compile: bool,
    ) -> None:
        import torch

        self.device = torch.device(device)
        if self.device.type == "cuda":
            # Also for what pins memory, which has no device of its own.
            torch.cuda.set_device(self.device)
        self.precision, self.normalize, self.compiled = precision, normalize, compile
        self.dtype = getattr(torch, dtype)
        self.dim, self.context_length = facts.dim, facts.context_length
        self.size = tuple(facts.preprocessing["size"])
        model = model.to(self.device, memory_format=torch.channels_last)
        self._encode = {"image": model.encode_image, "text": model.encode_text}
        if compile:
            self._encode = {
                kind: torch.compile(encode, dynamic=False) for kind, encode in self._encode.items()
            }
        # As large as a picture: a channel at a time, the arithmetic would take twice as long.
        self._mean, self._std = (
            torch.tensor(facts.preprocessing[name], device=self.device)
            .view(1, 3, 1, 1)
            .expand(1, 3, *self.size)
            .contiguous(memory_format=torch.channels_last)
            for name in ("mean", "std")
        )

    def input_of(self, kind: Kind, rows: int) -> torch.Tensor:
        """Room on the device for what `rows` rows are made of."""
        import torch

        if kind == "image":
            return torch.zeros((rows, *self.size, 3), dtype=torch.uint8, device=self.device)
        return torch.zeros((rows, self.context_length), dtype=torch.int64, device=self.device)

    def features(self, kind: Kind, rows: torch.Tensor) -> torch.Tensor:
        """Features of pixels (n, height, width, 3) uint8, or of tokens; (n, dim) on the device."""
        import torch

        half = {"fp16": torch.float16, "bf16": torch.bfloat16}.get(self.precision)
        with (
            torch.inference_mode(),
            # Where float32 is asked for, no convolution in TF32.
            torch.backends.cudnn.flags(
                enabled=True, deterministic=True, allow_tf32=half is not None
            ),
            torch.autocast(self.device.type, half, enabled=half is not None),
        ):
            if kind == "image":
                # Channels last, as they lie; then open_clip's ToTensor and Normalize.
                rows = rows.permute(0, 3, 1, 2).float().div_(255)
                rows = rows.sub_(self._mean).div_(self._std)
            found = self._encode[kind](rows, normalize=False).float()
            if self.normalize:
                found = torch.nn.functional.normalize(found, dim=-1)
            converted: torch.Tensor = found.to(self.dtype)
            return converted
