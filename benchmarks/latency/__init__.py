"""How fast a bundle is and what memory it takes, beside what a person would run instead, in the same run."""
