"""`forecast`: an hourly series."""
