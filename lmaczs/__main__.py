"""`python -m lmaczs`."""

import sys

from lmaczs.cli import main

if __name__ == "__main__":
    sys.exit(main())
