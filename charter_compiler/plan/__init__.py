"""The execution plan: what the compiler decided, as a versioned file that the run time obeys."""
