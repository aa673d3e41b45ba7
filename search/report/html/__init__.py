"""The report: one HTML file that shows a study, or compares several, without data, runtime or network."""
