"""The grid: case data, power flow, the decision process and its tapes. Imports no other room."""
