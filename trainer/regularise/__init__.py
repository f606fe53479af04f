"""What keeps a model from learning its training rows by heart, whatever the model is."""
