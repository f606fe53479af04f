"""What a dataset is like: read with the readers that training uses, counted, drawn, and told in ``profile.json`` and a report page."""
