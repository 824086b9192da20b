"""Where tapes come from: seeded synthetic days, and days recorded in Grid2Op's chronics.

`docs/tapes.md` states what is on a tape, in formulas, and how the two compare.
"""
