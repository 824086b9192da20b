"""Day-ahead plans: how units share a foreseen demand."""
