"""A comparison as something to read: one page of HTML, figures, LaTeX, tidy CSV.

    panels.py     curves, several lines to a panel: the only thing that is drawn over steps
    document.py   everything the page shows, as JSON values
    page.py       the document as one HTML file; charts.py has its Vega-Lite specifications
    figures.py    matplotlib
    latex.py      tables
    output.py     formats, file endings, where the result goes

What is drawn as a learning curve is a `Panel`; whatever else has curves (a meta-training run, say)
only has to make panels to be drawn by the page and by the figures alike.
"""

from __future__ import annotations
