"""What several benches share: options, frames, journals, metrics, timing, tables."""
