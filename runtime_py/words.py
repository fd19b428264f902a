"""Numbers in sentences."""


def counted(count: int, noun: str) -> str:
    """Say how many there are of something, as in "1 step" and "2 steps".

    Parameters
    ----------
    count
        How many.
    noun
        What there is one of; its plural ends in -s.
    """
    return f"{count} {noun}{'s' * (count != 1)}"
