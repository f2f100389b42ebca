"""Reading the blocklist: page by page, finding users on it, making it equal to a list."""
