"""From the studio's networks to the pocket's: few steps, few parameters, the teacher's answers."""
