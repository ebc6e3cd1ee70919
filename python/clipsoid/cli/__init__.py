"""The command line: one small file per command; what a command needs is imported inside it."""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Sequence

from clipsoid.cli import (
    analyze,
    compare,
    demo,
    embed,
    fit,
    info,
    merge,
    score,
    select,
    sweep,
    vslerp,
    whiten,
)

COMMANDS = (
    demo,
    info,
    embed,
    fit,
    merge,
    whiten,
    score,
    select,
    sweep,
    analyze,
    compare,
    vslerp,
)

EPILOG = """\
exit codes:
  0    done
  1    a bug in clipsoid (please report it)
  2    the command line is wrong
  3    an input is at fault: a file, a row, an ellipsoid that does not fit
  4    an output cannot be written: foreign contents, no permission, disk full
  130  interrupted (Ctrl-C); what is finished stays, nothing partial does
"""


def parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    top = argparse.ArgumentParser(
        prog="clipsoid",
        description="The geometry of CLIP embeddings: exact conformity of every row, in one pass.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    top.add_argument("--version", action="store_true", help="print the version and exit")
    commands = top.add_subparsers(title="commands", metavar="COMMAND", dest="command")
    for command in COMMANDS:
        command.add_parser(commands)
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line; the exit code is returned."""
    # A terminal that cannot show a character shows another, rather than a traceback.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    top = parser()
    options = top.parse_args(arguments)
    if options.version:
        from clipsoid import __version__

        print(f"clipsoid {__version__}")
        return 0
    if options.command is None:
        top.print_help()
        return 2
    from clipsoid.cli.output import warnings_told
    from clipsoid.errors import (
        ClipsoidError,
        EmbedWarning,
        LossWarning,
        OutputError,
        PairingWarning,
    )

    try:
        with warnings_told(EmbedWarning, LossWarning, PairingWarning):
            options.run(options)
        sys.stdout.flush()
    except OutputError as error:
        return _fail(4, error.strerror or str(error))
    except ClipsoidError as error:
        return _fail(3, str(error))
    except KeyboardInterrupt as stop:
        return _fail(130, f"interrupted: {stop}" if str(stop) else "interrupted")
    except BrokenPipeError:
        # The reader of our output has gone, as `| head` does; nothing more can be said to it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        # Readers and writers name their files; what is left is standard output.
        return _fail(4, f"cannot write the result: {error.strerror or error}")
    return 0


def _fail(code: int, message: str) -> int:
    print(f"clipsoid: {message}", file=sys.stderr)
    return code
