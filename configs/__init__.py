"""The registry of experiments: one small file each."""
