"""GET /schedules: pages by name, by cursors that stay right while schedules come and go."""

from __future__ import annotations

from jobqueue.job import Draft
from jobqueue.rules.table import Table
from jobqueue.schedule import Schedule
from jobqueue.stores.contract import Needs
from tests.api.bench import Api
from tests.api.test_schedules import kept


async def test_the_list_is_by_name(api: Api) -> None:
    """Whole, as each is shown by itself."""
    assert (await api.get("/schedules")).json() == {"items": [], "next": None}
    shown = [await kept(api, name) for name in ("b", "c", "B", "a")]
    answer = await api.get("/schedules")
    assert answer.json() == {"items": sorted(shown, key=lambda one: str(one["name"])), "next": None}
    assert "link" not in answer.headers


async def test_the_list_comes_in_pages(front: Api) -> None:
    """A cursor goes on where the page ended, whatever comes and goes meanwhile; Link says the same."""
    for name in "abcdef":
        await kept(front, name)
    seen = []
    target = "/schedules?limit=2"
    while target:
        answer = await front.get(target)
        page = answer.json()
        seen += [one["name"] for one in page["items"]]
        await front.ask("DELETE", f"/schedules/{seen[-1]}")
        link = answer.headers.get("link")
        target = link[1 : link.index(">")] if link else ""
        assert (page["next"] is None) == (link is None)
        assert page["next"] is None or page["next"] in target
    assert seen == list("abcdef")


async def test_a_page_of_large_ones_is_cut(front: Api) -> None:
    """At 8 MiB, but never to nothing."""
    text = '{"kind":"a","payload":"' + "x" * (5 << 20) + '"}'

    def keep(table: Table) -> None:
        for name in "abc":
            table.add_schedule(Schedule(name, job=text, draft=Draft("a"), anchor=0, every=60))

    await front.store.apply(Needs, keep)
    seen = []
    cursor: str | None = ""
    while cursor is not None:
        page = (await front.get(f"/schedules?limit=3{cursor and '&cursor=' + cursor}")).json()
        seen.append([one["name"] for one in page["items"]])
        cursor = page["next"]
    assert seen == [["a"], ["b"], ["c"]]
