"""Generated data sets, as files for others to read."""
