"""Labelled texts: reading, cleaning, vocabulary, batches by length, count ratios, NB-SVM, the Embedding Projector."""
