"""`python -m archroute`, for where the `archroute` script is not on the path."""

import sys

from archroute.cli import main

if __name__ == "__main__":
    sys.exit(main())
