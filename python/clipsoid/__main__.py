"""``python -m clipsoid``."""

import sys

from clipsoid.cli import main

sys.exit(main())
