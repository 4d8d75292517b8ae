"""What can show that a whole answer is not right."""

from enum import StrEnum


class Fault(StrEnum):
    """By the name that metrics tell."""

    CUT = "cut"
    """It stopped at the model's own limit, not at one that the caller set."""
    REPETITION = "repetition"
    """It ends in the same words over and over."""
    NO_NUMBER = "no_number"
    """A number was asked for, and none is there."""
    NOT_OF_SCHEMA = "not_of_schema"
    """It is no JSON of the schema asked for."""
    BOX_UNREADABLE = "box_unreadable"
    """A box was written that cannot be read."""
    BOX_OUTSIDE = "box_outside"
    """A box is not inside the picture, or has no area."""
    BOX_TWICE = "box_twice"
    """The same box with the same label again."""
    LABEL_NOT_ASKED = "label_not_asked"
    """Something was found that was not looked for."""
    OCR_DISAGREES = "ocr_disagrees"
    """An OCR engine read another text on the picture, and surely."""
