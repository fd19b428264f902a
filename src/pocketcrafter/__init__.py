"""PocketCrafter: from critic and artist checkpoints to a phone bundle whose every target is proved."""
