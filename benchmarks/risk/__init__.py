"""Risk and coverage: what a judge of proposals gains over the gate at equal harm."""
