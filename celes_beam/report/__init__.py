"""The report of a lake in one HTML file; needs the extra ``[report]``."""
