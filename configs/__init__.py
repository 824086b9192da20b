"""The shelf of experiments: one small file each."""
