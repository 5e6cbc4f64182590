"""What the lab says when it cannot go on."""


class LabError(Exception):
    """A cause and a way out, for the user."""
