"""`vanishing`: where the gradient goes."""
