"""Case data and fleets: what a grid is made of, read, checked and converted."""
