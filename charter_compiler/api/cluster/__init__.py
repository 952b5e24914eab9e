"""A run on a Ray cluster: Ray spreads the work, each worker runs its shards as a run on one machine does."""
