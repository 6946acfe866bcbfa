"""What report.py is made of: evaluations.py reads figures, plots.py draws, sections.py arranges, page.py writes."""
