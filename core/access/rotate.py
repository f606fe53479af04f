"""Exchanges the operator's master key: what it seals is sealed anew in one transaction, and no object is touched."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, select, update

from core.access.project_keys import ProjectKeys
from core.access.project_secrets import place_of
from core.access.vault import CannotOpen, Vault
from core.db.secret_tables import secrets
from core.errors import WrongMasterKey


@dataclass(frozen=True, slots=True)
class Rotated:
    num_projects: int
    num_secrets: int


def rotate_master_key(tx: Connection, old: str, new: str, now: datetime) -> Rotated:
    """Keys of projects and project secrets open with ``new`` afterwards, and with ``old`` no more.

    WrongMasterKey, and nothing has changed, when ``old`` does not open one of them.
    """
    num_projects = ProjectKeys(old).rewrap(tx, ProjectKeys(new), now)
    return Rotated(num_projects, _reseal_secrets(tx, Vault(old), Vault(new)))


def _reseal_secrets(tx: Connection, old: Vault, new: Vault) -> int:
    rows = tx.execute(select(secrets.c.project_id, secrets.c.name, secrets.c.sealed).with_for_update()).all()
    for row in rows:
        place = place_of(row.project_id, row.name)
        try:
            sealed = new.seal(old.open(row.sealed, place), place)
        except CannotOpen as error:
            raise WrongMasterKey(
                f"the master key does not open the secret {row.name} of {row.project_id}; remove or set it again"
            ) from error
        mine = (secrets.c.project_id == row.project_id, secrets.c.name == row.name)
        tx.execute(update(secrets).where(*mine).values(sealed=sealed))
    return len(rows)
