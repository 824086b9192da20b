"""Where time series come from: seeded synthetic days, and days recorded in Grid2Op's chronics.

`docs/time_series.md` states what is on a time series, in formulas, and how the two compare.
"""
