"""What opening a network costs, and how much of that is knowing that it is unchanged."""
