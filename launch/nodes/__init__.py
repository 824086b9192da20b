"""The processes of a run: a thin shell around each loop of `actors` and `learner`."""
