"""What all experiments share: the command line, flags, a run's folder and results, the training run."""
