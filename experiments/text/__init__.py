"""`imdb` and `ntc_scv`: classification of reviews."""
