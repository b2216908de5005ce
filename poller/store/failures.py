"""The one boundary where errors of databases, drivers and files become `StoreError`s that an operator can act on."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sqlalchemy.exc import DBAPIError, SQLAlchemyError, StatementError
from sqlalchemy.exc import TimeoutError as NoConnectionError

from poller.domain.errors import StoreBusyError, StoreError

_LOCK_NOT_AVAILABLE = "55P03"
"""PostgreSQL's SQLSTATE for a lock that was not to be had in time."""


class RefusedError(Exception):
    """Why the store cannot be used, and what to do; `store_errors` puts in front of it which store that is."""


@contextmanager
def store_errors(
    place: str, explain: Callable[[BaseException], str], foreign: tuple[type[BaseException], ...] = ()
) -> Iterator[None]:
    """Raises what goes wrong inside as StoreError: ``place``, then what ``explain`` makes of a driver's error.

    ``foreign`` are the errors that a driver raises as its own. No text of SQLAlchemy is quoted: it has the statement in
    it, and every value.
    """
    try:
        yield
    except RefusedError as refusal:
        raise StoreError(f"{place}: {refusal}") from refusal
    except (TimeoutError, NoConnectionError) as error:
        raise StoreError(f"{place}: does not answer in time") from error
    except OSError as error:
        raise StoreError(f"{place}: {explain(error)}") from error
    except foreign as error:
        raise StoreError(f"{place}: {explain(error)}") from error
    except DBAPIError as error:
        # Never the text of the SQLAlchemy error itself: it quotes the statement and every value in it.
        kind = StoreBusyError if getattr(error.orig, "sqlstate", None) == _LOCK_NOT_AVAILABLE else StoreError
        raise kind(f"{place}: {explain(error.orig or error)}") from error
    except StatementError as error:
        raise StoreError(f"{place}: a value does not fit where it is to be stored") from error
    except (SQLAlchemyError, OverflowError) as error:
        raise StoreError(f"{place}: {error}") from error
