import pytest

from core.db.engine import Database
from tests.ledger.world import World


@pytest.fixture
def world(db: Database) -> World:
    """One project on a fresh ledger, once on each database."""
    return World(db)
