"""What a person starts, and how a program is laid over processes and cores."""

import sys

if sys.argv[:1] == ["-m"]:  # `python -m launch.local` and its like: nothing is imported yet.
    from launch.host import interrupt

    interrupt.end_at_once()
