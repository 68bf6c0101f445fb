"""Qt widgets of the dock."""
