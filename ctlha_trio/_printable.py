"""Text for people that comes from anywhere."""


def printable(text: str) -> str:
    """In one line, and such that it can be encoded: whatever cannot be shown is a question mark."""
    return text if text.isprintable() else "".join(each if each.isprintable() else "?" for each in text)
