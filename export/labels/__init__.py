"""What a teacher says and shows of photos, made by many workers and stored once."""
