"""How fast a network could be at best on a chip that is not here: arithmetic on published figures, no measurement."""
