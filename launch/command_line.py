"""Reads a command's flags, and ends with the exit code of misuse where they are mistaken."""

from __future__ import annotations

import sys

from absl import flags

from launch import exit_codes


def parse(argv: list[str]) -> list[str]:
    """Parses flags for `app.run`; a mistake ends the program with the exit code of misuse."""
    try:
        return flags.FLAGS(argv)
    except flags.Error as error:
        sys.stderr.write(f"error: {error}\n--help lists the flags\n")
        sys.exit(exit_codes.USAGE)
