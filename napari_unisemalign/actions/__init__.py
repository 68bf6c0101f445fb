"""What the buttons and keys do."""
