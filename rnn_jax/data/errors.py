"""The error of data that cannot be used as it is."""


class DataError(ValueError):
    """Bad data: one line that names the file, row, column or parameter (as `name=value`) and says what to do."""
