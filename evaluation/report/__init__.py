"""The report of an evaluation: one page that needs no network, and one that compares two."""
