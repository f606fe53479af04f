"""The worker's side of the recipe ``script``: a program that knows nothing of this service, started, watched and harvested."""
