"""Pages made out of what they describe: `python -m felinar_docs [--check]`."""


class DocsError(Exception):
    """A page that can't be made or is not up to date; one sentence says why."""
