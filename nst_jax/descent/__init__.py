"""One run over arrays: start, steps, sizes, lanes, result."""
