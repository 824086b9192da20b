"""Values, names, JSON and flags that come from outside, and how they are refused."""
