"""The machine: signals, processes, memory, the cache of compiled programs."""
