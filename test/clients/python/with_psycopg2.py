"""psycopg2, as DB-API programs use it: a transaction opens with the first statement."""

import io
import threading

import psycopg2
from report import (COPY_ROWS, DATABASE, HOST, PASSWORD, PORT, TAG, USER, equal, fails_with, feature,
                    product_names)

db = psycopg2.connect(host=HOST, port=PORT, user=USER, password=PASSWORD, dbname=DATABASE)


def query(sql, values=None):
    with db.cursor() as cursor:
        cursor.execute(sql, values)
        return cursor.fetchall()


def execute(sql, values=None):
    with db.cursor() as cursor:
        cursor.execute(sql, values)
        return cursor.rowcount


def backend_pid():
    pid = query("SELECT pg_backend_pid()")[0][0]
    db.commit()
    return pid


pid = backend_pid()


def goes_on():
    db.rollback()
    equal(backend_pid(), pid)


def read():
    equal(query("SELECT name FROM products WHERE id = %s", (17,)), [("Product 17",)])
    rows = query("SELECT name FROM products WHERE id <= 10 ORDER BY id")
    equal([name for (name,) in rows], product_names(10))
    db.commit()


def write():
    equal(execute(f"INSERT INTO {TAG}_work VALUES (%s, %s), (%s, %s)", (1, "new", 2, "new")), 2)
    equal(execute(f"UPDATE {TAG}_work SET label = %s WHERE id = %s", ("written", 1)), 1)
    equal(execute(f"DELETE FROM {TAG}_work WHERE id = %s", (2,)), 1)
    db.commit()


def prepared():
    execute(f"PREPARE add (integer, text) AS INSERT INTO {TAG}_work VALUES ($1, $2)")
    for number in (11, 12, 13):
        execute("EXECUTE add (%s, %s)", (number, "prepared"))
    execute("DEALLOCATE add")
    db.commit()
    return "PREPARE and EXECUTE in SQL: the driver has no other"


def transaction():
    with db:
        execute(f"INSERT INTO {TAG}_work VALUES (21, 'committed')")
    execute(f"INSERT INTO {TAG}_work VALUES (22, 'rolled back')")
    db.rollback()
    execute(f"INSERT INTO {TAG}_work VALUES (23, 'failed')")
    fails_with("22012", lambda: query("SELECT 1/0"))
    fails_with("25P02", lambda: query("SELECT 1"))
    goes_on()
    db.autocommit = True
    equal(query("SELECT 1"), [(1,)])
    db.autocommit = False
    db.set_session(isolation_level="SERIALIZABLE", readonly=True)
    fails_with("25006", lambda: execute(f"INSERT INTO {TAG}_work VALUES (24, 'read only')"))
    db.rollback()
    db.set_session(isolation_level="DEFAULT", readonly=False)
    goes_on()


def cursor():
    with db.cursor(name="all products") as named:
        named.itersize = 100
        named.execute("SELECT name FROM products ORDER BY id")
        equal(named.fetchmany(100), [(name,) for name in product_names(100)])
        equal(len(list(named)), 200)
    with db.cursor(name="scrolling", scrollable=True) as named:
        named.execute("SELECT name FROM products ORDER BY id")
        named.scroll(50)
        equal(named.fetchone(), ("Product 51",))
    db.commit()


def copy_in():
    with db.cursor() as one:
        one.copy_from(io.StringIO("1\tplain\n2\tünï\n"), f"{TAG}_copy", columns=("id", "label"))
        one.copy_expert(f"COPY {TAG}_copy FROM STDIN", io.StringIO("3\t\\N\n"))
        equal(one.rowcount, 1)
    db.commit()


def copy_out():
    out = io.StringIO()
    with db.cursor() as one:
        one.copy_expert(f"COPY {TAG}_copy TO STDOUT", out)
    equal(out.getvalue(), COPY_ROWS)
    goes_on()


def cancel():
    timer = threading.Timer(2, db.cancel)
    timer.start()
    fails_with("57014", lambda: query("SELECT pg_sleep(10)"))
    timer.join()
    goes_on()


def approved():
    execute(f"CREATE TABLE {TAG}_approved (id integer)")
    db.commit()
    if not any("countersign: held" in notice for notice in db.notices):
        raise AssertionError(f"no notice: {db.notices}")
    goes_on()


def denied():
    fails_with("42501", lambda: execute(f"CREATE TABLE {TAG}_denied (id integer)"))
    goes_on()


def timed_out():
    db.autocommit = True
    fails_with("57014", lambda: execute(f"CREATE TABLE {TAG}_timed_out (id integer)"))
    db.autocommit = False
    goes_on()


feature("read", read)
feature("write", write)
feature("prepared", prepared)
feature("transaction", transaction)
feature("cursor", cursor)
feature("copy-in", copy_in)
feature("copy-out", copy_out)
feature("cancel", cancel)
feature("approved", approved)
feature("denied", denied)
feature("timed-out", timed_out)
db.close()
