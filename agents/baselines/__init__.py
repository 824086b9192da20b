"""The controllers to beat: rules, dispatchers and optimisers, behind the same interface."""
