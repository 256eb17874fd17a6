"""The tests. A package of its own name, because libraries install a `tests` folder that would be merged with this one."""
