"""The test suite. Rooms mirror the product; ``bed`` holds the real servers and processes that the others run against."""
