"""Comparisons: workloads, the ways to run them, interleaved sessions, raw rows, and what follows of them."""
