"""The PPO update, the loop that runs it, its checkpoints and the variable server."""
