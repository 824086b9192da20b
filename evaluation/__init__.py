"""Episodes of a controller, what is measured on them, and how sure one can be."""
