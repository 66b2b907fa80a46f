"""Reports over many runs: tables with tests, plots over flags, a CSV, and a page that opens without a network."""
