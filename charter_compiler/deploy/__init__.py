"""A GPU instance as a deployment: its settings, acceptance tests, benchmarks, and the cloud API that rents it."""
