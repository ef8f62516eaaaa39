"""What asyncio's core expects of `_asyncio`: tasks and their queue, in Python because the C one reads the real clock."""

from time import ticks_diff, ticks_ms

from micropython import const

_PERIOD = const(1 << 30)  # of the ticks, as in time.py
_HALF = const(1 << 29)


class TaskQueue:
    """Tasks in the order of their time; those of the same time in the order they came. A singly linked list."""

    def __init__(self):
        self._head = None

    def peek(self):
        return self._head

    def push(self, task, key=None):
        task.data = None
        task.ph_key = key = ticks_ms() if key is None else key
        before = None
        after = self._head
        bias = _HALF - key
        while after is not None and after.ph_key + bias & _PERIOD - 1 <= _HALF:  # due no later
            before = after
            after = after.next
        task.next = after
        if before is None:
            self._head = task
        else:
            before.next = task

    def pop(self):
        task = self._head
        self._head = task.next
        task.next = None
        return task

    def remove(self, task):
        before = None
        at = self._head
        while at is not None:
            if at is task:
                if before is None:
                    self._head = at.next
                else:
                    before.next = at.next
                at.next = None
                return
            before = at
            at = at.next


class Task:
    """A coroutine under way. `state`: True running, None finished unseen, False finished and seen, or who waits for it."""

    def __init__(self, coro, globals=None):
        self.coro = coro
        self.data = None
        self.state = True
        self.ph_key = 0
        self.next = None
        self._core = globals

    def __iter__(self):
        if not self.state:
            self.state = False
        elif self.state is True:
            self.state = TaskQueue()
        elif type(self.state) is not TaskQueue:
            raise RuntimeError("can't wait")
        return self

    def __next__(self):
        if not self.state:
            raise self.data
        waiter = self._core["cur_task"]
        self.state.push(waiter)
        waiter.data = self

    def done(self):
        return not self.state

    def cancel(self):
        core = self._core
        if not self.state:
            return False
        if self is core["cur_task"]:
            raise RuntimeError("can't cancel self")
        task = self
        while isinstance(task.data, Task):  # it waits for another task: that one is cancelled in its stead
            task = task.data
        queue = core["_task_queue"]
        if hasattr(task.data, "remove"):  # it waits in a queue of an event, a lock or a stream
            task.data.remove(task)
            queue.push(task)
        elif ticks_diff(task.ph_key, ticks_ms()) > 0:  # it sleeps
            queue.remove(task)
            queue.push(task)
        task.data = core["CancelledError"]
        return True
