"""The lake: files staged, decided on, published, read back, merged and verified."""
