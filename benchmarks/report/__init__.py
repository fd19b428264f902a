"""One HTML file that says whether a bundle may ship, and shows why."""
