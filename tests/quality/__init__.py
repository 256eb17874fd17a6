"""How good the detector is: published data sets through the product's own replay.

`python -m tests.quality SET` needs the extra `train`, the data (see `recordings`), and for `tsb` the extra `quality`
and `pip install --no-deps TSB-AD==1.5`. The figures, as they came out, are in `RESULTS.md`.
"""
