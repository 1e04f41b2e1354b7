"""Templates of the cards of datasets, as Jinja."""
