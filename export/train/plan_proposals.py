"""What the shipped judge chooses from: the parts of the critic's plan that earned their place on training photos.

Of 95 parts (19 sets of attributes, or what is large or likely in a plan, each at five strengths) forward selection took
the first ten by what an oracle that picks the best of them gains: 5.39 of CIEDE2000 on 1,940 frames of photos that the
critic had not seen, where twenty gain 5.64 and twenty at half and full strength 4.85. Strengths above 1 earn most:
a critic that is trained to expect the least error says less than there is. The whole plan and half of it are there for
frames in which a judge can be sure of no more. The selection was a script that is not in this repository.
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
