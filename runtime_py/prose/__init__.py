"""The critic's prose: the prompt a decoder continues, the words it has, what makes it well formed, and its meaning."""
