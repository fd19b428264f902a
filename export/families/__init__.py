"""Families as the builder knows them: their recipes, the files that stages read, and what loads their networks."""
