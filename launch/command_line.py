"""Flags and mistakes of commands, as the commands of `envs` have them too."""

from envs.inputs.command_line import NumberParser, define_number, refuse, run

__all__ = ["NumberParser", "define_number", "refuse", "run"]
