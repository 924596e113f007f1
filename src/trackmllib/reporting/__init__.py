"""Output for people: progress bar, results, figures and reports."""
