"""Model servers as the run time sees them: the clients, and the scheduler and orchestrator over them."""
