"""The tests: a package, because libraries install a `tests` folder that would otherwise be merged with this one."""
