"""What steps grids: unrolls, and the loops of actor and evaluator."""
