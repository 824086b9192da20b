"""What a run leaves on the disk, and how it ends where it cannot be written."""
