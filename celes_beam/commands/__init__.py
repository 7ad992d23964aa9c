"""What a command line asks for and answers: flags, options, progress, summaries, errors."""
