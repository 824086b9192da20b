"""The scenarios that controllers are tried on: seven ways for a day to go, each easy or hard.

`suite` draws their time series, the same for every controller; `docs/scenarios.md` describes them.
"""
