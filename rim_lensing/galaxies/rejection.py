"""Why an image is no usable galaxy."""

REASONS = {
    "empty": "nothing stands out of the noise near the centre",
    "flat": "all pixels have the same value",
    "too small": "the galaxy covers too few pixels to show any structure",
    "point-like": "the object is as sharp as a star",
    "truncated": "the galaxy runs over the edge of the frame",
    "off-centre": "the nearest object is far from the centre of the frame",
    "too noisy": "the noise is too large a part of the peak",
    "saturated": "too much of the object sits at one ceiling value",
    "crowded": "foreground stars cover too much of the object",
    "artefact": "missing data, a trail or an edge of the detector crosses the object",
}


class NotAGalaxyError(ValueError):
    """The image holds no usable galaxy; `reason` is a key of `REASONS`, `detail` what was seen."""

    def __init__(self, reason: str, detail: str = "") -> None:
        """Build the message from the reason's description and an optional measurement."""
        self.reason = reason
        self.detail = detail
        super().__init__(
            f"not a galaxy ({reason}): {REASONS[reason]}" + (f"; {detail}" if detail else "")
        )
