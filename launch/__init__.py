"""What a person starts, and how a program is laid over processes and cores."""
