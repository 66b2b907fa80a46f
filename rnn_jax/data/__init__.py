"""Data sets and generated tasks: series, texts, images, long memory. Arrays and texts out; no model is known here."""
