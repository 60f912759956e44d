"""`python -m rim_lensing` is the command `rim-lensing`."""

import sys

from rim_lensing.cli import main

if __name__ == "__main__":
    sys.exit(main())
