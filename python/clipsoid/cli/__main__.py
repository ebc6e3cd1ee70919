"""``python -m clipsoid.cli``."""

import sys

from clipsoid.cli import main

sys.exit(main())
