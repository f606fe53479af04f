"""The domain of Trainyard: plain Python, pydantic and SQLAlchemy; no web framework, no broker, no torch."""
