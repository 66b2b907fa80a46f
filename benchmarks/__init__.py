"""What is timed against whom. README.md has the commands, the figures, and which file is what."""
