"""The scores of an earlier search are taken up by one that would compute the same."""
