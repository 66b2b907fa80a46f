"""Data sets and generated tasks: series, texts, images, long memory. Arrays and texts out; nothing here knows a model."""
