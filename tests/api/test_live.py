"""Waking those who wait: nothing missed, nobody woken for others, all ended when the server stops."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

from api.live import Live


def test_news_between_registering_and_waiting_are_not_missed() -> None:
    async def story() -> bool:
        live = Live()
        with live.listen("job_a") as waiter:
            live.notify("job_a")
            return await waiter.wait(5)

    assert asyncio.run(story())


def test_a_waiter_is_not_woken_for_another_job() -> None:
    async def story() -> bool:
        live = Live()
        with live.listen("job_a") as waiter:
            live.notify("job_b", "job_a/logs")
            return await waiter.wait(0.01)

    assert not asyncio.run(story())


def test_one_waiter_may_listen_to_several_topics() -> None:
    async def story() -> bool:
        live = Live()
        with live.listen("job_a", "job_a/logs") as waiter:
            live.notify("job_a/logs")
            return await waiter.wait(5)

    assert asyncio.run(story())


def test_every_notice_from_other_threads_arrives() -> None:
    async def story() -> int:
        live = Live()
        heard = 0
        with live.listen("job_a") as waiter, ThreadPoolExecutor(1) as pool:
            for _ in range(500):
                sent = asyncio.get_running_loop().run_in_executor(pool, live.notify, "job_a")
                heard += await waiter.wait(5)
                await sent
        return heard

    assert asyncio.run(story()) == 500


def test_closing_ends_every_wait_now_and_later() -> None:
    async def story() -> tuple[bool, bool]:
        live = Live()
        with live.listen("job_a") as waiter:
            waiting = asyncio.create_task(waiter.wait(60))
            await asyncio.sleep(0)
            live.close()
            first = await waiting
            return first, await waiter.wait(60)

    assert asyncio.run(story()) == (True, False)


def test_nobody_is_remembered_after_listening() -> None:
    async def story() -> list[str]:
        live = Live()
        with live.listen("job_a", "job_b"), live.listen("job_a"):
            pass
        live.notify("job_a")
        return live.watched()

    assert asyncio.run(story()) == []
