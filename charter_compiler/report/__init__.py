"""What was predicted beside what was measured, as one HTML file and as a table for the terminal."""
