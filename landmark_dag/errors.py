"""The one exception that means: the input is at fault, and this sentence says what to do."""


class InputError(ValueError):
    """Bad input, told in one clear sentence that names the file, row or value and the remedy.

    The command line prints the sentence on stderr and exits with status 2; an asset fails with it.
    """
