"""The grid: case data, power flow, time series, the decision process. Imports no other package."""
