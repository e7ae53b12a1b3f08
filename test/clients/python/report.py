"""What the programs in this folder share: the environment they are given and the lines that they print."""

import json
import os
import traceback

TAG = os.environ["CLIENT_TAG"]
HOST = os.environ["CLIENT_HOST"]
PORT = int(os.environ["CLIENT_PORT"])
USER = os.environ["CLIENT_USER"]
PASSWORD = os.environ["CLIENT_PASSWORD"]
DATABASE = os.environ["CLIENT_DATABASE"]
URL = os.environ["CLIENT_URL"]

COPY_ROWS = "1\tplain\n2\tünï\n3\t\\N\n"


def product_names(count):
    return [f"Product {n}" for n in range(1, count + 1)]


def equal(actual, wanted):
    if actual != wanted:
        raise AssertionError(f"{actual!r} is not {wanted!r}")


def _print(feature, ok, detail):
    print(json.dumps({"feature": feature, "ok": ok, "detail": detail}), flush=True)


def _failed(feature, error):
    traceback.print_exc()
    _print(feature, False, f"{type(error).__name__}: {error}".strip())


def feature(name, work):
    """Runs one feature and prints its line."""
    try:
        _print(name, True, work() or "")
    except Exception as error:  # every fault is a report
        _failed(name, error)


async def feature_async(name, work):
    try:
        _print(name, True, await work() or "")
    except Exception as error:
        _failed(name, error)


def sqlstate_of(error):
    """SQLAlchemy wraps the driver's error."""
    for one in (error, getattr(error, "orig", None)):
        state = getattr(one, "sqlstate", None) or getattr(one, "pgcode", None)
        if state:
            return state
    return None


def fails_with(sqlstate, work):
    try:
        work()
    except Exception as error:
        if sqlstate_of(error) != sqlstate:
            raise AssertionError(f"{sqlstate_of(error)} is not {sqlstate}: {error}") from error
        return
    raise AssertionError(f"no error, wanted {sqlstate}")


async def fails_with_async(sqlstate, work):
    try:
        await work()
    except Exception as error:
        if sqlstate_of(error) != sqlstate:
            raise AssertionError(f"{sqlstate_of(error)} is not {sqlstate}: {error}") from error
        return
    raise AssertionError(f"no error, wanted {sqlstate}")
