"""Which images of a set without labels are worth labelling: the value in which lint says it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Choice:
    """What is to be done with one image.

    Attributes:
        image: its file.
        keep: whether it is worth labelling.
        because: the codes of the findings for which it is left out.
        partner: the image of which it is a copy, or which it looks like; None if it is left out for itself.
    """

    image: str
    keep: bool
    because: tuple[str, ...] = ()
    partner: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """A JSON-ready dict."""
        return {"image": self.image, "keep": self.keep, "because": list(self.because), "partner": self.partner}

    @classmethod
    def from_dict(cls, values: Any) -> Choice:
        """What `as_dict` wrote.

        Raises:
            ValueError: it was not written by `as_dict`.
        """
        try:
            image, keep, because = values["image"], values["keep"], tuple(values["because"])
            partner = values["partner"]
        except (KeyError, TypeError) as error:
            raise ValueError(f"a choice is image, keep, because and partner: {error!r}") from None
        texts = (image, *because, *(() if partner is None else (partner,)))
        if not isinstance(keep, bool) or not all(isinstance(text, str) for text in texts):
            raise ValueError("a choice has a value of another type")
        return cls(image, keep, because, partner)
