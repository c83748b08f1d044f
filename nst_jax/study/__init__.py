"""Many runs over arrays: the grid of settings, and what came of it."""
