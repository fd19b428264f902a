"""Models, data, training, lowering to targets and bundle building."""
