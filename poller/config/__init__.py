"""The config file and all it includes: read with the line of every value, checked in one go."""
