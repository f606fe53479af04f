"""The HTTP control plane. FastAPI lives here and nowhere else; torch is never imported."""
