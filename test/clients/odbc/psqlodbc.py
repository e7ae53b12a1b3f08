"""psqlodbc through unixODBC and pyodbc, without a DSN."""

import json
import os
import threading

import pyodbc

# The driver manager's pool would hand back another connection than was closed.
pyodbc.pooling = False
TAG = os.environ["CLIENT_TAG"]


def connect(**settings):
    """The driver by its name in odbcinst.ini: where its library lies differs by architecture."""
    given = {
        "Driver": "{PostgreSQL Unicode}",
        "Servername": os.environ["CLIENT_HOST"],
        "Port": os.environ["CLIENT_PORT"],
        "UID": os.environ["CLIENT_USER"],
        "PWD": os.environ["CLIENT_PASSWORD"],
        "Database": os.environ["CLIENT_DATABASE"],
        "SSLmode": "disable",
        **settings,
    }
    return pyodbc.connect(";".join(f"{name}={value}" for name, value in given.items()), autocommit=True)


db = connect()


def value(sql, *parameters):
    return db.execute(sql, *parameters).fetchone()[0]


PID = value("SELECT pg_backend_pid()")


def equal(expected, actual):
    if expected != actual:
        raise AssertionError(f"expected {expected!r}, got {actual!r}")


def state(work):
    """The SQLSTATE that it fails with."""
    try:
        work()
    except pyodbc.Error as error:
        return error.args[0]
    return ""


def read():
    row = db.execute("SELECT name, price FROM products WHERE id = ?", 17).fetchone()
    equal("Product 17 17.50", f"{row.name} {row.price}")
    equal("Product 10", db.execute("SELECT name FROM products WHERE id <= 10 ORDER BY id").fetchall()[9][0])


def write():
    for number in (1, 2):
        equal(1, db.execute(f"INSERT INTO {TAG}_work VALUES (?, ?)", number, "new").rowcount)
    equal(1, db.execute(f"UPDATE {TAG}_work SET label = ? WHERE id = ?", "written", 1).rowcount)
    equal(1, db.execute(f"DELETE FROM {TAG}_work WHERE id = 2").rowcount)


def prepared():
    insert = db.cursor()
    insert.executemany(f"INSERT INTO {TAG}_work VALUES (?, 'prepared')", [[11], [12], [13]])
    modes = (
        {"UseServerSidePrepare": 0},
        {"UseServerSidePrepare": 1},
        {"Protocol": "7.4-0"},
        {"Protocol": "7.4-2"},
        {"UpdatableCursors": 1, "Ksqo": 1},
        {"ConnSettings": "SET search_path TO public"},
    )
    for mode in modes:
        other = connect(**mode)
        cursor = other.cursor()
        for number in range(1, 6):
            row = cursor.execute("SELECT name FROM products WHERE id = ? AND name <> ?", number, "it's \\").fetchone()
            equal(f"Product {number}", row[0])
        equal(25, len(cursor.execute("SELECT name FROM products ORDER BY id LIMIT 25").fetchall()))
        other.close()
    return f"also {len(modes)} connection settings, from UseServerSidePrepare to Protocol"


def transaction():
    db.autocommit = False
    insert = f"INSERT INTO {TAG}_work VALUES (?, 'committed')"
    db.execute(insert, 21)
    db.commit()
    db.execute(insert, 22)
    db.rollback()
    db.execute(insert, 23)
    equal("22012", state(lambda: db.execute("SELECT 1 / 0")))
    state(lambda: db.execute("SELECT 1"))
    db.rollback()
    db.autocommit = True
    for protocol in ("7.4-0", "7.4-1", "7.4-2"):
        on_error(protocol)
    return "also each of the driver's ways to roll back after an error"


def on_error(protocol):
    """Nothing, the transaction, or (with a savepoint before each statement) the statement is rolled back."""
    other = connect(Protocol=protocol)
    other.autocommit = False
    other.execute(f"INSERT INTO {TAG}_work VALUES (24, 'lost')")
    equal("22012", state(lambda: other.execute("SELECT 1 / 0")))
    after = state(lambda: equal(1 if protocol == "7.4-2" else 0, count(other, 24)))
    equal("25P02" if protocol == "7.4-0" else "", after)
    other.rollback()
    other.close()


def count(connection, number):
    return connection.execute(f"SELECT count(*) FROM {TAG}_work WHERE id = ?", number).fetchone()[0]


def cursor():
    """Not UseDeclareFetch: the driver then declares WITH HOLD, which is an export and asks a person."""
    db.autocommit = False
    db.execute("DECLARE pages CURSOR FOR SELECT id FROM products ORDER BY id")
    for last in (100, 200, 300):
        equal(last, db.execute("FETCH 100 FROM pages").fetchall()[99][0])
    equal(None, db.execute("FETCH 100 FROM pages").fetchone())
    db.execute("CLOSE pages")
    db.commit()
    db.autocommit = True
    return "DECLARE, FETCH"


def introspect():
    asking = db.cursor()
    equal(["products"], [row.table_name for row in asking.tables(table="products", schema="public")])
    equal(["id", "name", "price"], [row.column_name for row in asking.columns(table="products")])
    equal(["id"], [row.column_name for row in asking.primaryKeys(table="products", schema="public")])
    equal(True, "products_pkey" in [row.index_name for row in asking.statistics("products", schema="public")])
    asking.foreignKeys(table="products").fetchall()
    asking.rowIdColumns("products").fetchall()
    asking.rowVerColumns("products").fetchall()
    asking.procedures(schema="public").fetchall()
    asking.procedureColumns(schema="public").fetchall()
    asking.getTypeInfo().fetchall()
    asking.tables(catalog="%", schema="", table="").fetchall()
    equal("PostgreSQL", db.getinfo(pyodbc.SQL_DBMS_NAME))
    return "all of ODBC's catalog functions"


def cancel():
    running = db.cursor()
    ended = threading.Event()

    def again_and_again():
        # On a busy machine the first may come before the statement.
        while not ended.wait(0.7):
            running.cancel()

    other = threading.Thread(target=again_and_again)
    other.start()
    try:
        found = state(lambda: running.execute("SELECT pg_sleep(10)"))
    finally:
        ended.set()
        other.join()
    equal(True, found in ("57014", "HY008"))
    return f"SQLCancel from another thread: {found}"


def approved():
    db.execute(f"CREATE TABLE {TAG}_approved (id integer)")


def refused(suffix, expected):
    sql = f"CREATE TABLE {TAG}_{suffix} (id integer)"

    def work():
        equal(expected, state(lambda: db.execute(sql)))
        db.autocommit = False
        db.execute(f"INSERT INTO {TAG}_work VALUES (99, 'lost')")
        equal(expected, state(lambda: db.execute(sql)))
        db.rollback()
        db.autocommit = True
        equal(0, count(db, 99))
        return "alone, and in a transaction"

    return work


def same():
    equal(PID, value("SELECT pg_backend_pid()"))


def feature(name, *steps):
    """Runs the steps and prints the line that the frame reads; a step may return how it was done."""
    report = {"feature": name, "ok": True, "detail": ""}
    try:
        for step in steps:
            report["detail"] = step() or report["detail"]
    except Exception as error:  # whatever it is, it is reported
        report = {"feature": name, "ok": False, "detail": f"{type(error).__name__}: {error}"}
        db.rollback()
        db.autocommit = True
    print(json.dumps(report), flush=True)


feature("read", read)
feature("write", write)
feature("prepared", prepared)
feature("transaction", transaction, same)
feature("cursor", cursor)
feature("introspect", introspect)
feature("cancel", cancel, same)
feature("approved", approved, same)
feature("denied", refused("denied", "42501"), same)
feature("timed-out", refused("timed_out", "57014"), same)
