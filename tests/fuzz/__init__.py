"""Input that nobody meant: what reads bytes of others must refuse it, and never crash or fill the memory.

`python -m tests.fuzz --inputs N` or `--minutes M`; see `__main__`. Each input is a function of its seed, drawn by a
`random.Random`; hypothesis draws the same inputs in `tests/test_fuzz.py`, and makes them small where one is found.
"""
