"""What the transforms whose threads share the elements of a bundle have in common."""

from __future__ import annotations

from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.windowed_value import WindowedValue

from celes_beam.errors import ConfigError


def check_threads(threads: int) -> None:
    """Raise ``ConfigError`` unless ``threads`` is 0 (one a core) or more."""
    if threads < 0:
        raise ConfigError(f"threads={threads}: expected 0 (one a core) or more")


def in_global_window(element: object) -> WindowedValue:
    """Wrap what ``finish_bundle`` emits, which Beam cannot place in a window by itself."""
    window = GlobalWindow()
    return WindowedValue(element, window.max_timestamp(), [window])
