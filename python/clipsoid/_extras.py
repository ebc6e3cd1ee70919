"""Packages that only some functions need: what is missing is said, and how to get it."""

from __future__ import annotations

from importlib.util import find_spec

from clipsoid.errors import UnavailableError

#: By the name to import, the name to install.
_PACKAGES = {"scipy": "scipy", "sklearn": "scikit-learn"}


def check_stats(what: str, *modules: str) -> None:
    """Raise unless the modules of the extra ``stats`` that `what` needs are installed."""
    missing = [_PACKAGES[name] for name in modules if not _is_there(name)]
    if missing:
        raise UnavailableError(
            f"{what} needs {' and '.join(missing)}, not installed here: "
            'pip install "clipsoid[stats]"'
        )


def _is_there(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ValueError:
        # A module whose place in sys.modules was blocked.
        return False
