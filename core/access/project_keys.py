"""A key per project, sealed under the operator's master key, and the check that a server has the right one."""

from datetime import datetime

from sqlalchemy import Connection, insert, select, update

from core.access.vault import CannotOpen, Sealer, Vault, derive, new_key
from core.db.conflict import insert_or
from core.db.key_tables import key_checks, project_keys
from core.db.secret_tables import secrets
from core.errors import WrongMasterKey

_PURPOSE = b"trainyard project keys 1"
_CHECK, _CHECK_PLACE = b"this master key opens this ledger", b"key check"


class ProjectKeys:
    """Opens and makes the keys of projects with one master key."""

    def __init__(self, master_key: str) -> None:
        self._sealer = Sealer(derive(master_key, _PURPOSE))

    def ensure(self, tx: Connection, project_id: str, now: datetime) -> Sealer:
        """The project's own sealer; its key is made with the first use. WrongMasterKey when this one does not open it."""
        row = {"project_id": project_id, "sealed": self._sealer.seal(new_key(), _place(project_id)), "created_at": now}
        if tx.execute(insert_or(tx, project_keys).on_conflict_do_nothing(index_elements=["project_id"]), row).rowcount:
            self._require_current(tx)
        return self.of(tx, project_id)

    def of(self, tx: Connection, project_id: str) -> Sealer:
        sealed = tx.scalars(select(project_keys.c.sealed).where(project_keys.c.project_id == project_id)).one()
        return Sealer(self._open(project_id, sealed))

    def rewrap(self, tx: Connection, new: "ProjectKeys", now: datetime) -> int:
        """Seals every project's key, and the check, under the master key of ``new`` instead; how many. Objects stay as they are."""
        # The check first: whoever makes a key now waits for this transaction, or we for theirs and see the key below.
        tx.execute(update(key_checks).values(sealed=new._sealer.seal(_CHECK, _CHECK_PLACE), created_at=now))
        rows = tx.execute(select(project_keys.c.project_id, project_keys.c.sealed).with_for_update()).all()
        for row in rows:
            sealed = new._sealer.seal(self._open(row.project_id, row.sealed), _place(row.project_id))
            tx.execute(update(project_keys).where(project_keys.c.project_id == row.project_id).values(sealed=sealed))
        return len(rows)

    def write_check(self, tx: Connection, now: datetime) -> None:
        """The first server that encrypts leaves what the others are measured by."""
        tx.execute(insert(key_checks).values(id=1, sealed=self._sealer.seal(_CHECK, _CHECK_PLACE), created_at=now))

    def passes(self, sealed: bytes) -> bool:
        try:
            return self._sealer.open(sealed, _CHECK_PLACE) == _CHECK
        except CannotOpen:
            return False

    def _require_current(self, tx: Connection) -> None:
        """A server that runs on after the master key was exchanged must not seal a new key under the old one."""
        sealed = tx.scalar(select(key_checks.c.sealed).with_for_update(read=True))
        if sealed is not None and not self.passes(sealed):
            raise WrongMasterKey

    def _open(self, project_id: str, sealed: bytes) -> bytes:
        try:
            return self._sealer.open(sealed, _place(project_id))
        except CannotOpen as error:
            raise WrongMasterKey from error


def check_master_key(tx: Connection, master_key: str | None, *, encrypts: bool, now: datetime) -> str | None:
    """What is wrong with the server's master key, in words for its operator; None when it may start."""
    sealed = tx.scalar(select(key_checks.c.sealed))
    if master_key is None:
        if encrypts:
            return "encryption at rest needs a master key"
        if sealed is not None:
            return (
                "this ledger's bytes are encrypted: set TRAINYARD_MASTER_KEY or TRAINYARD_MASTER_KEY_FILE to the key they were stored with"
            )
        return None
    keys = ProjectKeys(master_key)
    if sealed is not None:
        return None if keys.passes(sealed) else "this is not the master key that this ledger's bytes were encrypted with"
    if encrypts:
        if not _opens_secrets(tx, Vault(master_key)):
            return "this is not the master key that this ledger's project secrets were sealed with"
        keys.write_check(tx, now)
    return None


def _opens_secrets(tx: Connection, vault: Vault) -> bool:
    """Judged by the newest one: those of before an earlier change of the key may be lost already."""
    row = tx.execute(select(secrets).order_by(secrets.c.updated_at.desc()).limit(1)).one_or_none()
    if row is None:
        return True
    try:
        vault.open(row.sealed, f"{row.project_id}/{row.name}")
    except CannotOpen:
        return False
    return True


def _place(project_id: str) -> bytes:
    return f"project {project_id}".encode()
