"""Configuration of serving engines, made from what the analysis found; each value says why."""
