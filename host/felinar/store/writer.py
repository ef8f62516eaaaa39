"""One thread that owns the writing connection: what waits becomes one transaction, and trouble is survived."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

from felinar.errors import StoreError
from felinar.store.interface import Metrics

T = TypeVar("T")

_RETRY_S = (0.5, 1.0, 2.0, 5.0, 10.0)


class Writer:
    """Runs jobs `(connection) -> result` in order; the futures are done after the commit of the batch they were in.

    `before_commit` and `after` frame each batch: the first writes what the jobs have gathered, the second is told
    whether it was committed. A database that can't be written (full disk, lock of another program) fails the batch and,
    until it is tried again, everything submitted: nobody acknowledges, nodes keep their messages. `trouble` is told the
    reason when that begins and "" when it ends.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        *,
        before_commit: Callable[[sqlite3.Connection], None],
        after: Callable[[bool], None],
        trouble: Callable[[str], None],
        limit: int = 10_000,
        batch: int = 1000,
        linger_s: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.metrics = Metrics()
        self._connection = connection
        self._before_commit = before_commit
        self._after = after
        self._trouble = trouble
        self._limit = limit
        self._batch = batch
        self._linger_s = linger_s
        self._clock = clock
        self._jobs: deque[tuple[Callable[[sqlite3.Connection], Any], Future[Any]]] = deque()
        self._wake = threading.Condition()
        self._closing = False
        self._retries = 0
        self._retry_at = 0.0
        self._thread = threading.Thread(target=self._run, name="felinar-store", daemon=True)
        self._thread.start()

    def submit(self, job: Callable[[sqlite3.Connection], T]) -> Future[T]:
        """Queue a job. The future fails with StoreError when the queue is full, the store in trouble or closed."""
        future: Future[T] = Future()
        with self._wake:
            if self._closing:
                future.set_exception(StoreError("The store is closed."))
            elif len(self._jobs) >= self._limit:
                self.metrics.refused += 1
                future.set_exception(StoreError(f"The store is {self._limit} writes behind.", "Is the disk that slow?"))
            else:
                self._jobs.append((job, future))
                self.metrics.queued = len(self._jobs)
                self.metrics.queued_most = max(self.metrics.queued_most, len(self._jobs))
                self._wake.notify()
        return future

    def close(self) -> None:
        """Run what is queued, then end the thread. The connection stays open."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        self._thread.join()

    def _run(self) -> None:
        while True:
            with self._wake:
                while not self._jobs:
                    if self._closing:
                        return
                    self._wake.wait()
                if self._linger_s and len(self._jobs) < self._batch and not self._closing:
                    self._wake.wait_for(lambda: self._closing or len(self._jobs) >= self._batch, self._linger_s)
                jobs = [self._jobs.popleft() for _ in range(min(len(self._jobs), self._batch))]
                self.metrics.queued = len(self._jobs)
            if self.metrics.trouble and self._clock() < self._retry_at:
                self.metrics.refused += len(jobs)
                for _, future in jobs:
                    future.set_exception(StoreError(f"The database can't be written: {self.metrics.trouble}."))
                continue
            self._write(jobs)

    def _write(self, jobs: list[tuple[Callable[[sqlite3.Connection], Any], Future[Any]]]) -> None:
        started = time.perf_counter()
        metrics = self.metrics
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            results = [job(self._connection) for job, _ in jobs]
            self._before_commit(self._connection)
            self._connection.execute("COMMIT")
        except Exception as error:
            self._roll_back()
            if isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.IntegrityError):
                self._fail(jobs, str(error))
            elif len(jobs) > 1:
                # One job is at fault; the others must not suffer from being in its company.
                for job in jobs:
                    self._write([job])
            else:
                metrics.failed_batches += 1
                jobs[0][1].set_exception(error)
            return
        self._after(True)
        metrics.batches += 1
        metrics.largest_batch = max(metrics.largest_batch, len(jobs))
        metrics.commit_ms = (time.perf_counter() - started) * 1000
        metrics.commit_ms_most = max(metrics.commit_ms_most, metrics.commit_ms)
        if metrics.trouble:
            metrics.trouble = ""
            self._retries = 0
            self._trouble("")
        for (_, future), result in zip(jobs, results, strict=True):
            future.set_result(result)

    def _roll_back(self) -> None:
        if self._connection.in_transaction:
            try:
                self._connection.execute("ROLLBACK")
            except sqlite3.Error as error:  # SQLite has rolled back by itself, as it does when the disk is full
                self.metrics.details["rollback"] = str(error)
        self._after(False)

    def _fail(self, jobs: list[tuple[Callable[[sqlite3.Connection], Any], Future[Any]]], reason: str) -> None:
        metrics = self.metrics
        metrics.failed_batches += 1
        metrics.refused += len(jobs)
        new = not metrics.trouble
        metrics.trouble = reason
        self._retry_at = self._clock() + _RETRY_S[min(self._retries, len(_RETRY_S) - 1)]
        self._retries += 1
        if new:
            self._trouble(reason)
        for _, future in jobs:
            future.set_exception(StoreError(f"The database can't be written: {reason}.", "Nodes keep what they made."))
