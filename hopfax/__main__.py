"""`python -m hopfax` is the command `hopfax`."""

import sys

from .cli import main

sys.exit(main())
