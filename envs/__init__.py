"""The grid: case data, power flow, time series and the decision process. Imports no other package."""
