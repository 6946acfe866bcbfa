"""What report.py is made of: evaluations.py reads figures, figures.py draws, sections.py arranges, page.py writes."""
