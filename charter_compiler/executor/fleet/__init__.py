"""Several endpoints in one run: who they are, which item is at which, and a lane of calls to each."""
