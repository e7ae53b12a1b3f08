"""asyncpg: a protocol of its own in Cython, prepares everything, reads types from the catalog."""

import asyncio
import io

import asyncpg
from report import (DATABASE, HOST, PASSWORD, PORT, TAG, USER, equal, fails_with_async, feature_async,
                    product_names)


async def main():
    db = await asyncpg.connect(
        host=HOST, port=PORT, user=USER, password=PASSWORD, database=DATABASE, ssl=False
    )
    # What a pool does each time; it forgets listeners.
    await db.reset()
    notices = []
    db.add_log_listener(lambda _, message: notices.append(message.message))
    pid = await db.fetchval("SELECT pg_backend_pid()")

    async def goes_on():
        equal(await db.fetchval("SELECT pg_backend_pid()"), pid)

    async def read():
        equal(await db.fetchval("SELECT name FROM products WHERE id = $1", 17), "Product 17")
        rows = await db.fetch("SELECT name FROM products WHERE id <= 10 ORDER BY id")
        equal([row["name"] for row in rows], product_names(10))

    async def write():
        await db.executemany(f"INSERT INTO {TAG}_work VALUES ($1, $2)", [(1, "new"), (2, "new")])
        status = await db.execute(f"UPDATE {TAG}_work SET label = $1 WHERE id = $2", "written", 1)
        equal(status, "UPDATE 1")
        equal(await db.execute(f"DELETE FROM {TAG}_work WHERE id = $1", 2), "DELETE 1")

    async def prepared():
        statement = await db.prepare(f"INSERT INTO {TAG}_work VALUES ($1, $2)")
        for number in (11, 12, 13):
            await statement.fetch(number, "prepared")

    async def transaction():
        async with db.transaction():
            await db.execute(f"INSERT INTO {TAG}_work VALUES (21, 'committed')")
        undone = db.transaction()
        await undone.start()
        await db.execute(f"INSERT INTO {TAG}_work VALUES (22, 'rolled back')")
        await undone.rollback()
        failing = db.transaction()
        await failing.start()
        await db.execute(f"INSERT INTO {TAG}_work VALUES (23, 'failed')")
        await fails_with_async("22012", lambda: db.fetchval("SELECT 1/0"))
        await fails_with_async("25P02", lambda: db.fetchval("SELECT 1"))
        await failing.rollback()
        await goes_on()

    async def cursor():
        async with db.transaction():
            portal = await db.cursor("SELECT name FROM products ORDER BY id")
            names = []
            for _ in range(3):
                names += [row["name"] for row in await portal.fetch(100)]
            equal(names, product_names(300))
            streamed = [row["name"] async for row in db.cursor("SELECT name FROM products ORDER BY id", prefetch=50)]
            equal(streamed, product_names(300))
        await goes_on()

    async def introspect():
        """Types that the driver does not know make it ask the catalog."""
        statement = await db.prepare("SELECT p FROM products p WHERE id = 1")
        equal(statement.get_attributes()[0].type.name, "products")
        row = await statement.fetchval()
        equal(row["name"], "Product 1")
        equal(await db.fetchval("SELECT ARRAY[1, 2]::information_schema.cardinal_number[]"), [1, 2])
        await db.set_type_codec("json", encoder=str, decoder=str, schema="pg_catalog")
        equal(await db.fetchval("""SELECT '{"a": 1}'::json"""), '{"a": 1}')
        await db.reload_schema_state()
        await goes_on()

    async def copy_in():
        status = await db.copy_records_to_table(f"{TAG}_copy", records=[(1, "plain"), (2, "ünï")])
        equal(status, "COPY 2")
        await db.copy_to_table(f"{TAG}_copy", source=io.BytesIO(b"3\t\\N\n"))
        await goes_on()
        return "binary and text"

    async def copy_out():
        out = io.BytesIO()
        equal(await db.copy_from_table(f"{TAG}_copy", output=out, format="csv"), "COPY 3")
        equal(out.getvalue().decode(), "1,plain\n2,ünï\n3,\n")
        await goes_on()

    async def cancel():
        # Time over and a cancelled task are both the driver's own cancel.
        try:
            await db.fetchval("SELECT pg_sleep(10)", timeout=2)
            raise AssertionError("no time-out")
        except asyncio.TimeoutError:
            pass
        await goes_on()
        task = asyncio.ensure_future(db.fetchval("SELECT pg_sleep(10)"))
        await asyncio.sleep(2)
        task.cancel()
        try:
            await task
            raise AssertionError("not cancelled")
        except asyncio.CancelledError:
            pass
        await goes_on()
        return "the driver tells its own time-out and cancellation, not 57014"

    async def approved():
        await db.execute(f"CREATE TABLE {TAG}_approved (id integer)")
        if not any("countersign: held" in notice for notice in notices):
            raise AssertionError(f"no notice: {notices}")
        await goes_on()

    async def denied():
        await fails_with_async("42501", lambda: db.execute(f"CREATE TABLE {TAG}_denied (id integer)"))
        await fails_with_async("42501", lambda: db.fetch(f"CREATE TABLE {TAG}_denied (id integer)"))
        await goes_on()

    async def timed_out():
        await fails_with_async("57014", lambda: db.execute(f"CREATE TABLE {TAG}_timed_out (id integer)"))
        await goes_on()

    await feature_async("read", read)
    await feature_async("write", write)
    await feature_async("prepared", prepared)
    await feature_async("transaction", transaction)
    await feature_async("cursor", cursor)
    await feature_async("introspect", introspect)
    await feature_async("copy-in", copy_in)
    await feature_async("copy-out", copy_out)
    await feature_async("cancel", cancel)
    await feature_async("approved", approved)
    await feature_async("denied", denied)
    await feature_async("timed-out", timed_out)
    await db.close()


asyncio.run(main())
