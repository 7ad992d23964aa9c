"""Files of sales: found, split into ranges, and read as checked rows."""
