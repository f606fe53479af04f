"""What crosses HTTP: models shared by the API, the workers and the client."""
