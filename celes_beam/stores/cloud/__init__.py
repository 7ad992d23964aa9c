"""Google's clients, made one way: for Google, or for the stand-ins on this machine."""
