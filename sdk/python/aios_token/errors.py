"""The reasons for which an object is refused."""

from __future__ import annotations

KINDS = (
    "form",
    "issuer",
    "signature",
    "delegation",
    "audience",
    "subject",
    "not-yet",
    "expired",
    "epoch",
    "lease",
    "revoked",
    "right",
    "boot",
    "nonce",
    "sequence",
    "role",
    "replay",
)


class Refused(Exception):
    """An object is not accepted.

    kind is one of KINDS, the word that docs/token-format.md and the vectors
    use for the first check that failed; detail says what was found.
    """

    def __init__(self, kind: str, detail: str) -> None:
        if kind not in KINDS:
            raise ValueError(f"no such kind: {kind}")
        super().__init__(f"{kind}: {detail}")
        self.kind = kind
        self.detail = detail


def form(detail: str) -> Refused:
    """The most frequent reason: the object has not the form of its kind."""
    return Refused("form", detail)
