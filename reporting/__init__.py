"""The report of a run (report.py).

evaluations.py lists what is measured, sections.py and other_sections.py arrange it as pieces (pieces.py), plots.py
draws, build.py gathers and writes, and page.py fills the templates report.html and pieces.html.
"""
