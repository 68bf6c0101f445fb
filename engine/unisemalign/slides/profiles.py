"""Colour profiles (ICC): left alone, and said so.

Encoders for histology learn from pixels as the scanner wrote them; converting to sRGB would show
them colours they were not trained on, and cost more than decoding.
"""

from __future__ import annotations

import io

from PIL import ImageCms


def profile_remarks(profile: bytes | None) -> list[str]:
    """Return a remark on the colour profile of a file, unless it has none or it is sRGB's."""
    if not profile:
        return []
    try:
        name = ImageCms.getProfileDescription(ImageCms.getOpenProfile(io.BytesIO(profile))).strip()
    except (ImageCms.PyCMSError, OSError, ValueError):
        return []  # what cannot be read could not have been applied either
    if "srgb" in name.lower():
        return []
    return [
        f"Its colour profile ('{name}') is not applied: pixels are read as they are stored, "
        f"which is what the encoders were trained on."
    ]
