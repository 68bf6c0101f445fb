"""What the OME-XML of a TIFF says about its images."""

from __future__ import annotations

from dataclasses import dataclass
from xml.etree.ElementTree import Element

from unisemalign.runtime.safe_xml import UnsafeXmlError, parse_xml
from unisemalign.slides.spacing import Sizes, sizes_um

_FLUORESCENCE = ("Fluor", "EmissionWavelength", "ExcitationWavelength")


@dataclass(frozen=True)
class OmeImage:
    """One image of OME-XML.

    Attributes
    ----------
    name
        May be empty.
    size_yx
        Pixels, as stated.
    sizes
        Height and width of a pixel in µm; ``None`` where it says nothing.
    bits
        Significant bits a channel, where stated.
    channel_names
        One a channel; may be empty texts.
    colours
        Whether it says that a channel has several samples, which are red, green and blue.
    """

    name: str
    size_yx: tuple[int, int]
    sizes: Sizes | None
    bits: int | None
    channel_names: tuple[str, ...]
    colours: bool


def ome_images(xml: str | None) -> list[OmeImage]:
    """Return the images of OME-XML, in its order; none where it cannot be read."""
    try:
        root = parse_xml(xml or "")
    except UnsafeXmlError:
        return []
    found = []
    for image in root.iter("Image"):
        pixels = image.find("Pixels")
        if pixels is not None:
            found.append(_image(image.get("Name") or "", pixels))
    return found


def _image(name: str, pixels: Element) -> OmeImage:
    channels = pixels.findall("Channel")
    bits = pixels.get("SignificantBits", "")
    return OmeImage(
        name=name,
        size_yx=(_whole(pixels.get("SizeY")), _whole(pixels.get("SizeX"))),
        sizes=_sizes(pixels),
        bits=int(bits) if bits.isdecimal() and len(bits) < 4 else None,
        channel_names=tuple(_channel_name(channel) for channel in channels),
        colours=any(_whole(channel.get("SamplesPerPixel")) > 1 for channel in channels),
    )


def _channel_name(channel: Element) -> str:
    """Return what a channel is called; of a nameless one, what marks it as a fluorescence."""
    said = [channel.get("Name", ""), *(channel.get(key, "") for key in _FLUORESCENCE)]
    return next((each for each in said if each.strip()), "")


def _sizes(pixels: Element) -> Sizes | None:
    try:
        y, x = (float(pixels.attrib[f"PhysicalSize{axis}"]) for axis in "YX")
    except (KeyError, ValueError):
        return None
    unit_y, unit_x = (pixels.get(f"PhysicalSize{axis}Unit", "µm") for axis in "YX")
    return sizes_um(y, x, unit_y, unit_x)


def _whole(said: str | None) -> int:
    return int(said) if said and said.isdecimal() and len(said) < 12 else 0
