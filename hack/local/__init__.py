"""The local cluster, the images and the model server of this project, made from source on one machine. Standard library only."""

import sys

if sys.version_info < (3, 11):  # noqa: UP036 - run by whatever python3 is first in PATH
    sys.exit("Laneway needs Python 3.11 or later; put one first in PATH")
