"""Packages that only some functions need: what is missing is said, and how to get it."""

from __future__ import annotations

from importlib.util import find_spec

from clipsoid.errors import UnavailableError

#: By the name to import, the name to install.
_PACKAGES = {
    "scipy": "scipy",
    "sklearn": "scikit-learn",
    "torch": "torch",
    "open_clip": "open_clip_torch",
    "PIL": "pillow",
}


def check_stats(what: str, *modules: str) -> None:
    """Raise unless the modules of the extra ``stats`` that `what` needs are installed."""
    _check(what, modules, "stats")


def check_embed(what: str) -> None:
    """Raise unless the modules of the extra ``embed`` are installed."""
    _check(what, ("torch", "open_clip", "PIL"), "embed")


def _check(what: str, modules: tuple[str, ...], extra: str) -> None:
    missing = [_PACKAGES[name] for name in modules if not _is_there(name)]
    if missing:
        raise UnavailableError(
            f"{what} needs {' and '.join(missing)}, not installed here: "
            f'pip install "clipsoid[{extra}]"'
        )


def _is_there(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ValueError:
        # A module whose place in sys.modules was blocked.
        return False
