"""What names say of a file or an array: its modality, its number, that it was left unfinished."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import PurePath

from clipsoid.store.remote.path import RemotePath

MODALITIES = ("image", "text")

_WORDS = {
    "image": frozenset(["image", "images", "img", "imgs", "vision", "visual"]),
    "text": frozenset(["text", "texts", "txt", "txts", "caption", "captions"]),
}

#: Words of which an array of embeddings is called, where a file holds other pairs of arrays too.
_EMBEDDING = re.compile(r"emb|feat")

#: Not the digits that a hash ends with.
_NUMBER = re.compile(r"(?:^|[^0-9A-Za-z])([0-9]+)$")

#: How programs call what they have not finished.
_UNFINISHED = re.compile(r"(\.(part|partial|tmp|temp|incomplete|crdownload|inprogress)\b)|~$", re.I)


def words(name: str) -> list[str]:
    """Words of a name in lower case, without the numbers at their ends: ``img_emb_07``."""
    found = (word.rstrip("0123456789") for word in re.split(r"[^A-Za-z0-9]+", name.lower()))
    return [word for word in found if word]


def modality_of_name(name: str) -> str | None:
    """Return ``"image"`` or ``"text"`` if the words of a name say one of them, and not both."""
    said = [one for one in MODALITIES if not _WORDS[one].isdisjoint(words(name))]
    return said[0] if len(said) == 1 else None


def modality_of_path(path: PurePath) -> str | None:
    """Return the modality that the name of a file says, or else the nearest folder in its path."""
    names = (path.stem, *(parent.name for parent in path.parents))
    return next((found for name in names if (found := modality_of_name(name))), None)


def paired_arrays(names: Iterable[str]) -> dict[str, tuple[str, str]]:
    """Arrays of one file that are an image and a text side, by what their names share.

    ``b32_img b32_txt l14_img l14_txt`` are ``b32`` and ``l14``; ``image`` and ``text`` are ``""``.
    Of several such pairs, those that are called embeddings or features, if some are.
    """
    sides: dict[str, dict[str, str]] = {}
    for name in names:
        modality = modality_of_name(name)
        if modality is not None:
            sides.setdefault(_without_modality(name), {})[modality] = name
    pairs = {rest: (s["image"], s["text"]) for rest, s in sides.items() if len(s) == 2}
    if len(pairs) > 1:
        named = {rest: pair for rest, pair in pairs.items() if _EMBEDDING.search(rest)}
        return named or pairs
    return pairs


def _without_modality(name: str) -> str:
    said = _WORDS["image"] | _WORDS["text"]
    kept = (
        part
        for part in re.split(r"[^A-Za-z0-9]+", name.lower())
        if part.rstrip("0123456789") not in said
    )
    return "_".join(kept)


def number_of(path: PurePath | RemotePath) -> int | None:
    """Return the number at the end of a file's name, if it is a word: 7 of ``img_emb_07.npy``."""
    found = _NUMBER.search(path.stem)
    return int(found[1]) if found else None


def looks_unfinished(path: PurePath | RemotePath) -> bool:
    """Whether a file is called as what a stopped program leaves behind."""
    return bool(_UNFINISHED.search(path.name))
