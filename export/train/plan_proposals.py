"""What the shipped judge chooses from: the parts of the critic's plan that earned their place on training photos.

They were chosen by forward selection: each time the part that adds most to what an oracle gains that picks the best
of those taken. `pocketcrafter bench proposals` does it for any critic: for one of all photos, on 1,000 degraded
training frames of photographers that its siblings had not seen, it takes twelve of 95 parts that gain 5.36 of
CIEDE2000, where those below gain 5.31 and the whole plan alone 3.85. Strengths above 1 earn most: a critic that is
trained to expect the least error says less than there is. The whole plan and half of it are there for frames in which
a judge can be sure of no more.
"""

from typing import Final

from pocketcrafter.runtime.plan import Attribute
from pocketcrafter.runtime.plan_judge import Proposal

LIGHT: Final = (Attribute.EXPOSURE, Attribute.CONTRAST, Attribute.DEHAZE)
BALANCE: Final = (Attribute.TEMPERATURE, Attribute.TINT)
TONES: Final = (*LIGHT, Attribute.SATURATION)
ALL: Final = (*TONES, *BALANCE)

SHIPPED: Final = (
    Proposal(attributes=(*LIGHT, *BALANCE)),
    Proposal(attributes=TONES, strength=1.3),
    Proposal(attributes=(Attribute.DEHAZE, *BALANCE), strength=1.6),
    Proposal(attributes=TONES, strength=0.75),
    Proposal(attributes=(Attribute.EXPOSURE, *BALANCE), strength=1.6),
    Proposal(attributes=ALL, dead_zone=0.35),
    Proposal(attributes=ALL, dead_zone=0.2, strength=1.3),
    Proposal(attributes=(Attribute.DEHAZE, *BALANCE), strength=0.75),
    Proposal(attributes=(Attribute.EXPOSURE, Attribute.DEHAZE), strength=1.6),
    Proposal(attributes=TONES),
    Proposal(attributes=ALL),
    Proposal(attributes=ALL, strength=0.5),
)
"""In the order of the judge's batch."""

WORTH: Final = 0.5
"""What the median of a gain must exceed, in CIEDE2000: less is not seen, and only puts a photo at risk."""
