"""Run folders: their files, and loading and exporting their predictors."""
