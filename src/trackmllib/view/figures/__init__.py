"""What each figure of a search shows, as plain numbers. Nothing here draws."""
