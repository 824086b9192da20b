"""The PPO update and the process that runs it."""
