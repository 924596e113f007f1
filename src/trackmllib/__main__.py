"""``python -m trackmllib``, for environments without scripts on PATH."""

import sys

from trackmllib.cli import main

if __name__ == "__main__":
    sys.exit(main())
