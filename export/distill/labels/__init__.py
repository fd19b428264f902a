"""The default pair taught by stored labels of any teacher."""
