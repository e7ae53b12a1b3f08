"""SQLAlchemy over psycopg2, with a pool of one connection."""

import io
import threading

from report import (COPY_ROWS, DATABASE, HOST, PASSWORD, PORT, TAG, USER, equal, fails_with, feature,
                    product_names)
from sqlalchemy import Column, Integer, MetaData, Table, Text, create_engine, delete, insert, inspect
from sqlalchemy import select, text, update
from sqlalchemy.engine import URL
from sqlalchemy.orm import Session, declarative_base

engine = create_engine(
    URL.create("postgresql+psycopg2", USER, PASSWORD, HOST, PORT, DATABASE),
    pool_size=1,
    max_overflow=0,
    pool_pre_ping=True,
    future=True,
)
Base = declarative_base()


class Product(Base):
    __tablename__ = "products"
    id = Column(Integer, primary_key=True)
    name = Column(Text)


class Work(Base):
    __tablename__ = f"{TAG}_work"
    id = Column(Integer, primary_key=True)
    label = Column(Text)


def backend_pid():
    with engine.connect() as db:
        return db.execute(text("SELECT pg_backend_pid()")).scalar()


pid = backend_pid()


def goes_on():
    equal(backend_pid(), pid)


def read():
    with Session(engine) as session:
        equal(session.get(Product, 17).name, "Product 17")
        names = session.execute(select(Product.name).where(Product.id <= 10).order_by(Product.id)).scalars()
        equal(names.all(), product_names(10))


def write():
    with Session(engine) as session:
        first = Work(id=1, label="new")
        session.add_all([first, Work(id=2, label="new")])
        session.commit()
        first.label = "written"
        session.commit()
        equal(session.execute(delete(Work).where(Work.id == 2)).rowcount, 1)
        session.commit()


def transaction():
    with engine.begin() as db:
        db.execute(insert(Work).values(id=21, label="committed"))
    with engine.connect() as db:
        db.execute(insert(Work).values(id=22, label="rolled back"))
        db.rollback()
        db.execute(insert(Work).values(id=23, label="failed"))
        fails_with("22012", lambda: db.execute(text("SELECT 1/0")))
        fails_with("25P02", lambda: db.execute(text("SELECT 1")))
        db.rollback()
        with db.begin():
            nested = db.begin_nested()
            db.execute(update(Work).where(Work.id == 21).values(label="undone"))
            nested.rollback()
    goes_on()


def cursor():
    with engine.connect() as db:
        streamed = db.execution_options(stream_results=True, max_row_buffer=100).execute(
            select(Product.name).order_by(Product.id)
        )
        parts = [part for part in streamed.scalars().partitions(100)]
        equal([len(part) for part in parts], [100, 100, 100])
        equal(sum(parts, []), product_names(300))
    goes_on()


def introspect():
    inspector = inspect(engine)
    tables = inspector.get_table_names()
    if f"{TAG}_work" not in tables:
        raise AssertionError(f"{TAG}_work is not among {tables}")
    equal([column["name"] for column in inspector.get_columns("products")], ["id", "name", "price"])
    equal(inspector.get_pk_constraint("products")["constrained_columns"], ["id"])
    for look in (inspector.get_foreign_keys, inspector.get_indexes, inspector.get_unique_constraints,
                 inspector.get_check_constraints, inspector.get_table_comment):
        look("products")
    inspector.get_view_names()
    inspector.get_sequence_names()
    inspector.get_schema_names()
    inspector.get_enums()
    equal(inspector.has_table("products"), True)
    reflected = Table("products", MetaData(), autoload_with=engine)
    equal(list(reflected.columns.keys()), ["id", "name", "price"])
    MetaData().reflect(engine)
    goes_on()


def raw(work):
    """The driver's own connection, for what SQLAlchemy leaves to it."""
    connection = engine.raw_connection()
    try:
        result = work(connection)
        connection.commit()
        return result
    finally:
        connection.close()


def copy_in():
    def work(connection):
        connection.cursor().copy_expert(f"COPY {TAG}_copy FROM STDIN", io.StringIO(COPY_ROWS))

    raw(work)
    return "through the driver's connection"


def copy_out():
    out = io.StringIO()
    raw(lambda connection: connection.cursor().copy_expert(f"COPY {TAG}_copy TO STDOUT", out))
    equal(out.getvalue(), COPY_ROWS)
    goes_on()
    return "through the driver's connection"


def cancel():
    with engine.connect() as db:
        timer = threading.Timer(2, db.connection.cancel)
        timer.start()
        fails_with("57014", lambda: db.execute(text("SELECT pg_sleep(10)")))
        timer.join()
    goes_on()


def create(suffix):
    with engine.begin() as db:
        Table(f"{TAG}_{suffix}", MetaData(), Column("id", Integer)).create(db)


def approved():
    create("approved")
    goes_on()


def denied():
    fails_with("42501", lambda: create("denied"))
    goes_on()


def timed_out():
    fails_with("57014", lambda: create("timed_out"))
    goes_on()


feature("read", read)
feature("write", write)
feature("transaction", transaction)
feature("cursor", cursor)
feature("introspect", introspect)
feature("copy-in", copy_in)
feature("copy-out", copy_out)
feature("cancel", cancel)
feature("approved", approved)
feature("denied", denied)
feature("timed-out", timed_out)
engine.dispose()
