"""What routers before several replicas of one engine are told of a plan, and files that deploy the replicas."""
