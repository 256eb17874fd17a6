"""The colours of pictures: a thing has the same one in all of them (Okabe and Ito's, for every kind of eye)."""

NORMAL = "#0072B2"
LABELLED = "#D55E00"
LINE = "#0072B2"
RIGHT = "#009E73"
EXPECTED = "#E69F00"
