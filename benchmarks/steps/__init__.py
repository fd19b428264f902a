"""What each Euler step of a restoration network buys, for networks of any size side by side."""
