"""Plain functions on Arrow data: generate, decode, validate, aggregate. No Beam, no I/O."""
