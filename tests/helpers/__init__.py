"""What several tests use: a reference in NumPy, random problems, runs of a command line, toy tasks."""
