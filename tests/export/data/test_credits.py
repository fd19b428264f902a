from pocketcrafter.export.data.sources import Credit, CreditFile

README = """Copyright: Timothée Giet, 2022
License: CC-BY-SA 4.0
Files:
key.svg

Copyright: Dietmar Rabich / Wikimedia Commons
Source: https://example.org/File:Alpakas_--_2020.jpg
License: CC-BY-SA-4.0
Comments: cropping, sharpening
Files: alpaca.webp

Files: heron.webp
License: Public domain
Copyright: © 2014 Stephan Sprinz

License: CC0-1.0
Files: nobody.webp
"""

DEBIAN = """Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/

Files: *
Copyright: 2012-2022 The team
License: LGPL-2.1+

Files: nature/Aqua.jpg
       nature/TwoWings.jpg
Copyright: 2008, Charles Barbin <barbinch@free.fr>´
           2008, Hylke Bons <hylkebons@gmail.com>
License: GPL-2+
Comment: see AUTHORS

Files: desktop/Ubuntu-*-logo.png
Copyright: 2018. Goce Mitevski
License: CC-BY-SA-4.0
 The full text
 .
 goes on here.
"""


def test_a_readme_credits_its_files() -> None:
    found = CreditFile(README)
    assert found.find("alpaca.webp") == Credit(author="Dietmar Rabich", licence="CC-BY-SA-4.0")
    assert found.find("heron.webp") == Credit(author="Stephan Sprinz", licence="Public Domain")
    assert found.find("key.svg") == Credit(author="Timothée Giet", licence="CC-BY-SA-4.0")


def test_a_paragraph_without_a_person_credits_nobody() -> None:
    assert CreditFile(README).find("nobody.webp") is None


def test_debian_copyright_names_several_people_without_years_and_addresses() -> None:
    found = CreditFile(DEBIAN)
    assert found.find("TwoWings.jpg") == Credit(author="Charles Barbin; Hylke Bons", licence="GPL-2+")
    assert found.find("Ubuntu-Warm-logo.png") == Credit(author="Goce Mitevski", licence="CC-BY-SA-4.0")


def test_a_pattern_for_the_whole_package_is_no_credit_of_a_photo() -> None:
    assert CreditFile(DEBIAN).find("other.jpg") is None
