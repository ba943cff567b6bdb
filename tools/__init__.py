"""What maintainers run: python -m tools.NAME from the top of the checkout."""
