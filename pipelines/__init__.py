"""What is run: each module has ``build(pipeline, options)`` and ``run(argv)``, and reads as its diagram."""
