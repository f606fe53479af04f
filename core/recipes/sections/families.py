"""Model sections that are told apart by ``family``; one that names none means the recipe's default."""

from typing import Any

from pydantic import BaseModel, Discriminator


def by_family(*families: str, default: str) -> Discriminator:
    """For a union whose members carry ``Tag("<family>")``: in brackets, so that pointers of problems leave it out."""

    def tag(value: Any) -> str | None:
        named = value if isinstance(value, dict) else vars(value) if isinstance(value, BaseModel) else {"family": None}
        family = named.get("family", default)
        return f"<{family}>" if family in families else None

    return Discriminator(tag, custom_error_type="family", custom_error_message=f"family must be one of {', '.join(families)}")
