"""What is run: each module has ``build`` and ``run(argv)``, and reads as its diagram."""
