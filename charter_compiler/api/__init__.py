"""The Python front door: compile an agent, and compare runs of it. The commands are thin layers over it."""
