"""The subcommands of ``celes-beam``, one module each."""
