"""The one task: somebody rang. It carries no job; the ledger decides what there is to do."""

from celery import Celery

from worker.job_finder import JobFinder

LOOK_FOR_WORK = "worker.tasks.look_for_work"


def register_tasks(celery: Celery, finder: JobFinder) -> None:
    def look_for_work() -> None:
        finder.look()

    celery.task(look_for_work, name=LOOK_FOR_WORK, ignore_result=True)
