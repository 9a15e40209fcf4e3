"""What is measured, as pure functions of curves and scores (numpy only).

`records` declares the metrics of this package, `views` is what a metric gets to see and gives
back: the contract for everybody's.
"""
