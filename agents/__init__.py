"""What decides: teams, networks, action distributions, and the controllers to beat."""
