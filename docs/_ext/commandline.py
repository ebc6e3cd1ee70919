"""The directive ``clipsoid-help``: what ``clipsoid [COMMAND] --help`` prints, from the parser."""

import argparse
import os

from docutils import nodes
from docutils.parsers.rst import Directive

from clipsoid.cli import parser

#: Columns of a terminal that fits the text column of the site.
WIDTH = "78"


def help_text(command: str | None) -> str:
    """Return the help of a command, or of the whole program."""
    os.environ |= {"COLUMNS": WIDTH, "NO_COLOR": "1"}
    top = parser()
    if command is None:
        return top.format_help()
    return commands(top)[command].format_help()


def commands(top: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """Return the parser of each command, by name."""
    for action in top._actions:
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    return {}


class Help(Directive):
    """``clipsoid-help`` with the name of a command, or without."""

    optional_arguments = 1

    def run(self):
        text = help_text(self.arguments[0] if self.arguments else None)
        return [nodes.literal_block(text, text, language="text")]


def setup(app):
    app.add_directive("clipsoid-help", Help)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
