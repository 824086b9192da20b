"""Processes that step grids: unrolls, the actor and the evaluator."""
