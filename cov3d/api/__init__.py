"""What each command does, as typed functions that print nothing; `cov3d` offers them by name."""
