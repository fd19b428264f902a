"""Where the time of a network goes, operator by operator, inside the delegates too."""
