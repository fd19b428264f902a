"""Cross-language vectors: what the runtime's own arithmetic answers, for apps in other languages to be held against."""
