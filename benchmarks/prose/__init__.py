"""The critic's prose, measured: is it well formed, does it agree with the numbers, is it true, and how fast is it."""
