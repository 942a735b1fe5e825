"""Evaluation of one run: predictions, measures, figures and page."""
