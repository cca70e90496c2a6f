"""``kubectl laneway``: the script ``kubectl-laneway``, which kubectl finds as its plugin.

Exit codes: 0 done; 1 it could not be done, and stderr says why; 2 the command line is wrong; 3 the run that was waited for did not end
well; 4 it has not ended in time; 130 interrupted. Help and completion of words import nothing that speaks to a cluster.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from laneway.cli.completion import SCRIPT, complete
from laneway.cli.parser import build_parser

_INTERRUPTED = 130
_COMPLETE = "__complete"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and answer its exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        code = _run(words)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader has seen enough, as head does; what is left in the buffer must not fail at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return _INTERRUPTED
    return code


def _run(words: list[str]) -> int:
    if words[:1] == [_COMPLETE]:
        return complete(words[1:])
    options = build_parser().parse_args(words)
    if options.command == "completion":
        sys.stdout.write(SCRIPT)
        return 0
    from laneway.cli import commands

    return commands.run(options)


if __name__ == "__main__":
    sys.exit(main())
