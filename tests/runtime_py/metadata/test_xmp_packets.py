"""XMP packets are edited by namespace, in place; what they announce is there, or they announce it no longer."""

import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pocketcrafter.runtime.errors import PhotoError
from pocketcrafter.runtime.photo.metadata.stated import (
    orientation_of,
    resized_xmp,
    says_anything,
    upright_xmp,
    without_announcements,
    without_positions,
)
from pocketcrafter.runtime.photo.metadata.words import Word
from pocketcrafter.runtime.photo.metadata.xmp import properties, with_values, without

RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
DC = "http://purl.org/dc/elements/1.1/"


def packet(attributes: str = "", content: str = "") -> bytes:
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>\n<x:xmpmeta xmlns:x="adobe:ns:meta/">'
        f'<rdf:RDF xmlns:rdf="{RDF}"><rdf:Description rdf:about="" xmlns:dc="{DC}"'
        ' xmlns:tiff="http://ns.adobe.com/tiff/1.0/" xmlns:exif="http://ns.adobe.com/exif/1.0/"'
        f' xmlns:GCamera="http://ns.google.com/photos/1.0/camera/" {attributes}>'
        f"<dc:creator><rdf:Seq><rdf:li>Jane Müller</rdf:li></rdf:Seq></dc:creator>{content}"
        "</rdf:Description></rdf:RDF></x:xmpmeta>   \n<?xpacket end='w'?>"
    ).encode()


def creator(edited: bytes) -> str | None:
    """Read the packet with an independent parser; it must still be whole."""
    root = ET.fromstring(edited[edited.index(b"<x:") : edited.rindex(b"<?xpacket")].decode())  # noqa: S314
    return root.findtext(f".//{{{DC}}}creator/{{{RDF}}}Seq/{{{RDF}}}li")


@pytest.mark.parametrize("quote", ['"', "'"])
def test_attributes_and_elements_are_set_and_nothing_else_changes(quote: str) -> None:
    before = packet(f"tiff:Orientation = {quote}6{quote}", "<exif:PixelXDimension>4000</exif:PixelXDimension>")
    after = resized_xmp(upright_xmp(before), 30, 20)
    assert after == before.replace(f"{quote}6{quote}".encode(), f"{quote}1{quote}".encode()).replace(b">4000<", b">30<")
    assert (orientation_of(before), orientation_of(after)) == (6, 1)


def test_a_property_is_known_by_its_namespace_and_not_by_its_prefix() -> None:
    renamed = packet('xmlns:t="http://ns.adobe.com/tiff/1.0/" t:Orientation="8"')
    other = packet('xmlns:tiff2="urn:other" tiff2:Orientation="8"')
    assert orientation_of(renamed) == 8
    assert b't:Orientation="1"' in upright_xmp(renamed)
    assert orientation_of(other) is None
    assert upright_xmp(other) == other


def test_a_prefix_means_what_its_nearest_element_says() -> None:
    inner = '<dc:source xmlns:tiff="urn:other" tiff:Orientation="6"/>'
    before = packet('tiff:Orientation="3"', inner)
    assert upright_xmp(before) == before.replace(b'"3"', b'"1"')


def test_a_prefix_that_is_never_declared_is_understood_as_viewers_do() -> None:
    assert upright_xmp(b'<x:xmpmeta><r tiff:Orientation="6"/></x:xmpmeta>').count(b'"1"') == 1


ANNOUNCEMENTS = {
    "motion": ('GCamera:MotionPhoto="1" GCamera:MotionPhotoVersion="1"', "", {Word.MOTION}),
    "micro video": ('GCamera:MicroVideoOffset="2000"', "", {Word.MOTION}),
    "gain map": ('xmlns:hdrgm="http://ns.adobe.com/hdr-gain-map/1.0/" hdrgm:Version="1.0"', "", {Word.GAIN_MAP}),
    "depth": ('xmlns:GDepth="http://ns.google.com/photos/1.0/depthmap/" GDepth:Near="1"', "", {Word.DEPTH}),
    "first picture": (
        "",
        '<GImage:Data xmlns:GImage="http://ns.google.com/photos/1.0/image/">QUJD</GImage:Data>',
        {Word.DEPTH},
    ),
    "dynamic depth": (
        "",
        '<Device:Profiles xmlns:Device="http://ns.google.com/photos/dd/1.0/device/"><rdf:Seq/></Device:Profiles>',
        {Word.DEPTH},
    ),
    "container": (
        "",
        '<C:Directory xmlns:C="http://ns.google.com/photos/1.0/container/"'
        ' xmlns:I="http://ns.google.com/photos/1.0/container/item/"><rdf:Seq>'
        '<rdf:li rdf:parseType="Resource"><C:Item I:Mime="image/jpeg" I:Semantic="Primary"/></rdf:li>'
        '<rdf:li rdf:parseType="Resource"><C:Item I:Mime="image/jpeg" I:Semantic="GainMap" I:Length="9"/></rdf:li>'
        "<rdf:li><C:Item><I:Semantic>MotionPhoto</I:Semantic></C:Item></rdf:li>"
        '<rdf:li><C:Item I:Semantic="Original"/></rdf:li>'
        "</rdf:Seq></C:Directory>",
        {Word.GAIN_MAP, Word.MOTION, Word.FURTHER_PICTURES},
    ),
    "credentials": (
        'xmlns:dcterms="http://purl.org/dc/terms/" dcterms:provenance="self#jumbf=c2pa/urn:uuid:1"',
        "",
        {Word.CONTENT_CREDENTIALS},
    ),
    "thumbnail": (
        "",
        '<xmp:Thumbnails xmlns:xmp="http://ns.adobe.com/xap/1.0/"><rdf:Alt><rdf:li>QUJD</rdf:li></rdf:Alt>'
        "</xmp:Thumbnails>",
        set(),
    ),
}


@pytest.mark.parametrize("name", ANNOUNCEMENTS)
def test_what_is_gone_is_announced_no_longer(name: str) -> None:
    attributes, content, words = ANNOUNCEMENTS[name]
    after, announced = without_announcements(packet(attributes, content))
    assert announced == words
    assert creator(after) == "Jane Müller"
    for trace in (b"MotionPhoto", b"MicroVideo", b"hdrgm:", b"GDepth:", b"QUJD", b"Item", b"provenance", b"Profiles"):
        assert trace not in after


def test_other_properties_of_the_camera_stay() -> None:
    before = packet('GCamera:SpecialTypeID="portrait"')
    assert without_announcements(before) == (before, set())


def test_faces_are_left_out_where_the_frame_is_another() -> None:
    regions = (
        '<mwg-rs:Regions xmlns:mwg-rs="http://www.metadataworkinggroup.com/schemas/regions/"'
        ' xmlns:stArea="http://ns.adobe.com/xmp/sType/Area#" rdf:parseType="Resource">'
        '<mwg-rs:RegionList><rdf:Bag><rdf:li><rdf:Description mwg-rs:Name="Ada"><mwg-rs:Area stArea:x="0.5"/>'
        "</rdf:Description></rdf:li></rdf:Bag></mwg-rs:RegionList></mwg-rs:Regions>"
    )
    assert without_positions(packet("", regions)) == packet()


def test_a_packet_of_structure_alone_says_nothing() -> None:
    empty = f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="{RDF}"><rdf:Description rdf:about=""/></rdf:RDF>'
    assert not says_anything(empty.encode() + b"</x:xmpmeta>")
    assert says_anything(packet())


@pytest.mark.parametrize(
    "damaged",
    [
        b"",
        b"<x:xmpmeta>",
        b"\x00" * 40,
        "<a/>".encode("utf-16"),
        b'<!DOCTYPE a [<!ENTITY b "ccc">]><a>&b;</a>',
        b"<a b='1' b='2'/>",
        b"<a>&nothing;</a>",
    ],
)
def test_a_damaged_packet_is_a_typed_error(damaged: bytes) -> None:
    with pytest.raises(PhotoError, match="XMP packet"):
        properties(damaged)
    assert orientation_of(damaged) is None


@given(
    st.one_of(
        st.binary(max_size=120),
        st.tuples(st.integers(0, 600), st.binary(max_size=6)).map(
            lambda e: packet('tiff:Orientation="6"')[: e[0]] + e[1] + packet('tiff:Orientation="6"')[e[0] :]
        ),
    )
)
def test_any_bytes_are_edited_or_a_typed_error(data: bytes) -> None:
    try:
        after = without(upright_xmp(data), lambda p: p.name == "creator")
    except PhotoError:
        return
    assert orientation_of(after) in {1, None}
    assert without_announcements(after)[0] == after


def test_depth_and_number_are_bounded() -> None:
    deep = b"<a>" * 50_000 + b"</a>" * 50_000
    assert with_values(deep, {("x", "y"): "1"}) == deep
    with pytest.raises(PhotoError, match="properties"):
        properties(b"<r>" + b"<tiff:a/>" * 200_001 + b"</r>")
