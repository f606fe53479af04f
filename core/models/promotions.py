"""Promotions whose check runs as jobs, as a client sees them."""

from sqlalchemy import Connection, select

from core.db.base import AnyRow
from core.db.model_tables import model_promotions
from core.errors import NotFound
from core.models.finding import find_model
from core.wire.base import Page
from core.wire.models import CheckResult, Promotion

MOST_SHOWN = 100


def get_promotion(tx: Connection, project_id: str, name: str, promotion_id: str) -> Promotion:
    model = find_model(tx, project_id, name)
    mine = (model_promotions.c.id == promotion_id, model_promotions.c.model_id == model.id)
    row = tx.execute(select(model_promotions).where(*mine)).one_or_none()
    if row is None:
        raise NotFound
    return _promotion(row, name)


def list_promotions(tx: Connection, project_id: str, name: str) -> Page[Promotion]:
    """The newest of the model's promotions that had jobs."""
    model = find_model(tx, project_id, name)
    query = select(model_promotions).where(model_promotions.c.model_id == model.id).order_by(model_promotions.c.id.desc())
    rows = tx.execute(query.limit(MOST_SHOWN + 1)).all()
    shown = [_promotion(row, name) for row in rows[:MOST_SHOWN]]
    return Page(data=shown, has_more=len(rows) > MOST_SHOWN)


def check_of(row: AnyRow) -> CheckResult:
    """What a row of promotions compares, with the numbers that it has so far."""
    return CheckResult.model_validate(dict(row._mapping))


def _promotion(row: AnyRow, name: str) -> Promotion:
    facts = {**row._mapping, "name": name, "outcome": row.outcome or "pending", "previous_version": row.current_version}
    return Promotion.model_validate({**facts, "check": check_of(row)})
