"""What the commands return to the shell."""

OK = 0
FAILED = 1  # the work was begun and could not be finished
USAGE = 2  # what was asked for cannot be done, or not understood; nothing was begun
INTERRUPTED = 130  # Ctrl-C or SIGTERM came before anything was done that is worth keeping
