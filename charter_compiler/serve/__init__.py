"""The embedded Triton Inference Server: its model repository, the processes around it, and the engine behind it."""
