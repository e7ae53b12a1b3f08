"""psycopg 3: every statement in the extended protocol, pipelines, binary COPY."""

import threading

import psycopg
from psycopg import pq
from psycopg.types import TypeInfo
from psycopg.types.enum import EnumInfo
from report import (DATABASE, HOST, PASSWORD, PORT, TAG, USER, equal, fails_with, feature, product_names)

db = psycopg.connect(host=HOST, port=PORT, user=USER, password=PASSWORD, dbname=DATABASE, autocommit=True)
notices = []
db.add_notice_handler(lambda diagnostic: notices.append(diagnostic.message_primary))


def query(sql, values=None, **options):
    return db.execute(sql, values, **options).fetchall()


def backend_pid():
    return query("SELECT pg_backend_pid()")[0][0]


pid = backend_pid()


def goes_on():
    equal(backend_pid(), pid)


def read():
    equal(query("SELECT name FROM products WHERE id = %s", (17,)), [("Product 17",)])
    equal(query("SELECT id FROM products WHERE id = %s", (17,), binary=True), [(17,)])
    rows = query("SELECT name FROM products WHERE id <= 10 ORDER BY id")
    equal([name for (name,) in rows], product_names(10))


def write():
    # One Bind for each row, in a pipeline of the driver's own.
    with db.cursor() as cursor:
        cursor.executemany(f"INSERT INTO {TAG}_work VALUES (%s, %s)", [(1, "new"), (2, "new")])
        equal(cursor.rowcount, 2)
    equal(db.execute(f"UPDATE {TAG}_work SET label = %s WHERE id = %s", ("written", 1)).rowcount, 1)
    equal(db.execute(f"DELETE FROM {TAG}_work WHERE id = %s", (2,)).rowcount, 1)


def prepared():
    for number in (11, 12, 13):
        db.execute(f"INSERT INTO {TAG}_work VALUES (%s, %s)", (number, "prepared"), prepare=True)
    names = query("SELECT name FROM pg_prepared_statements WHERE statement LIKE 'INSERT%%'", ())
    equal(len(names), 1)


def transaction():
    with db.transaction():
        db.execute(f"INSERT INTO {TAG}_work VALUES (21, 'committed')")
    with db.transaction():
        db.execute(f"INSERT INTO {TAG}_work VALUES (22, 'rolled back')")
        raise psycopg.Rollback()
    db.autocommit = False
    db.execute(f"INSERT INTO {TAG}_work VALUES (23, 'failed')")
    fails_with("22012", lambda: db.execute("SELECT 1/0"))
    fails_with("25P02", lambda: db.execute("SELECT 1"))
    db.rollback()
    db.autocommit = True
    savepoints()
    goes_on()
    pipeline()
    return "also in pipeline mode"


def savepoints():
    with db.transaction(force_rollback=True):
        try:
            with db.transaction():
                db.execute("SELECT 1/0")
        except psycopg.errors.DivisionByZero:
            pass
        equal(query("SELECT 1"), [(1,)])


def pipeline():
    """Fifty statements are on their way at once; the one in the middle fails, then another is denied."""
    for bad, state in (("SELECT 1/0", "22012"), (f"CREATE TABLE {TAG}_denied (id integer)", "42501")):
        with db.pipeline() as line:
            before = [db.execute("SELECT %s::int", (number,)) for number in range(25)]
            line.sync()
            after = []
            fails_with(state, lambda: send_rest(line, bad, after))
            equal([cursor.fetchone()[0] for cursor in before], list(range(25)))
            synchronize(line)
            for cursor in after:
                fails_with(None, cursor.fetchone)
        equal(db.pgconn.transaction_status, pq.TransactionStatus.IDLE)
        goes_on()
    with db.pipeline(), db.transaction():
        cursors = [db.execute("SELECT name FROM products WHERE id = %s", (n,)) for n in range(1, 51)]
        equal([cursor.fetchone()[0] for cursor in cursors], product_names(50))
    goes_on()


def send_rest(line, bad, after):
    """Any of these raises what `bad` was answered: whichever comes first after the answer is in."""
    db.execute(bad)
    for number in range(24):
        after.append(db.execute("SELECT %s::int", (number,)))
    line.sync()


def synchronize(line):
    """Where the error came before the end of the group, the group has no Sync yet; what was skipped says so."""
    try:
        line.sync()
    except psycopg.errors.PipelineAborted:
        pass


def cursor():
    with db.transaction(), db.cursor(name="all products") as named:
        named.itersize = 100
        named.execute("SELECT name FROM products WHERE id > %s ORDER BY id", (0,))
        equal([name for (name,) in named.fetchmany(100)], product_names(100))
        equal(len(list(named)), 200)
    goes_on()


def introspect():
    equal(TypeInfo.fetch(db, "int4").oid, 23)
    equal(TypeInfo.fetch(db, "no_such_type"), None)
    equal(EnumInfo.fetch(db, "no_such_enum"), None)
    goes_on()


def copy_in():
    with db.cursor() as one:
        with one.copy(f"COPY {TAG}_copy (id, label) FROM STDIN") as copy:
            copy.write_row((1, "plain"))
        with one.copy(f"COPY {TAG}_copy (id, label) FROM STDIN (FORMAT BINARY)") as copy:
            copy.set_types(["int4", "text"])
            copy.write_row((2, "ünï"))
            copy.write_row((3, None))
        equal(one.rowcount, 2)
        try:
            with one.copy(f"COPY {TAG}_copy (id, label) FROM STDIN") as copy:
                copy.write_row((4, "given up"))
                raise KeyError("given up")
        except (KeyError, psycopg.errors.QueryCanceled):
            pass
    goes_on()
    return "text, binary and given up"


def copy_out():
    rows = [(1, "plain"), (2, "ünï"), (3, None)]
    with db.cursor() as one:
        with one.copy(f"COPY {TAG}_copy TO STDOUT") as copy:
            equal(list(copy.rows()), [(str(number), label) for number, label in rows])
        with one.copy(f"COPY {TAG}_copy TO STDOUT (FORMAT BINARY)") as copy:
            copy.set_types(["int4", "text"])
            equal(list(copy.rows()), rows)
    goes_on()
    return "text and binary"


def cancel():
    timer = threading.Timer(2, db.cancel)
    timer.start()
    fails_with("57014", lambda: db.execute("SELECT pg_sleep(10)"))
    timer.join()
    goes_on()


def approved():
    db.execute(f"CREATE TABLE {TAG}_approved (id integer)")
    if not any("countersign: held" in notice for notice in notices):
        raise AssertionError(f"no notice: {notices}")
    goes_on()


def denied():
    fails_with("42501", lambda: db.execute(f"CREATE TABLE {TAG}_denied (id integer)"))
    with db.transaction(force_rollback=True):
        fails_with("42501", lambda: db.execute(f"CREATE TABLE {TAG}_denied (id integer)"))
        fails_with("25P02", lambda: db.execute("SELECT 1"))
    goes_on()


def timed_out():
    fails_with("57014", lambda: db.execute(f"CREATE TABLE {TAG}_timed_out (id integer)"))
    goes_on()


feature("read", read)
feature("write", write)
feature("prepared", prepared)
feature("transaction", transaction)
feature("cursor", cursor)
feature("introspect", introspect)
feature("copy-in", copy_in)
feature("copy-out", copy_out)
feature("cancel", cancel)
feature("approved", approved)
feature("denied", denied)
feature("timed-out", timed_out)
db.close()
