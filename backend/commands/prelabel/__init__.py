"""Pre-labels what is there already: a project's tasks, or a folder of pages, on one machine or a Ray cluster."""
