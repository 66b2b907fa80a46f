"""Images as sequences: MNIST, and the IDX format it comes in."""
