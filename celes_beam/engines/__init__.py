"""Engines that are here for ``celes-beam compare`` alone, each a process of its own."""
