"""The flags of `launch.evaluate` without a command line."""

from launch import evaluation_request


def flags(**changes):
    """The flags' defaults but of three days, but for `changes`."""
    return evaluation_request.Choices(**{"episodes": 3, **changes})
