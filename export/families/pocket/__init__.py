"""The pocket family: the default pair's five small networks, trained here."""
