"""The kinds of source; one file each, found by its name, which is the `type:` in the configuration."""
