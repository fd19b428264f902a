"""The pocket family: the default pair's six small networks, trained here."""
