"""Training: a pure step scanned on the device, checkpoints that continue to the same bits, a log, progress.

Nothing here knows a cell or a model: a `Task` hands over pure functions.
"""
