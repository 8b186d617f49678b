"""Kazoo, measured. Same command line and output as `zk-bench client`.

    driver.py kazoo HOST:PORT WORK N LENGTH SIZE
"""

import logging
import os
import resource
import sys
import threading
import time
from collections import deque

from kazoo.client import KazooClient, KazooState
from kazoo.exceptions import NoNodeError

NO_SUCH_CALL = 64
WARMING_UP, MEASURING, OVER = range(3)
# The first thousand calls of a window take so long.
WARM_UP = 0.5
NODE = "/zk-bench-100"

logging.disable(logging.CRITICAL)
_, _, address, work, n, length, size = sys.argv
n, size = int(n), int(size)
path = f"/zk-bench-{size}"
data = b"x" * size
stage = WARMING_UP if length.endswith("s") else MEASURING
limit = None
times = []


def say(word):
    print(word, flush=True)


def stamp(word):
    say(f"{word} {time.time_ns()}")


def fail(what):
    print(f"{work}: {what}", file=sys.stderr, flush=True)
    os._exit(1)


def check(value, wanted):
    if value != wanted:
        fail(f"{value} instead of {wanted}")


class Worker:
    """One that calls, and counts."""

    def __init__(self):
        self.calls = 0

    def did(self, start=None):
        """Counts a call; false when the measurement is over."""
        if start is not None and stage == MEASURING:
            times.append(time.perf_counter() - start)
        self.calls += 1
        return stage != OVER and (limit is None or self.calls < limit)


def sync(worker):
    call = {
        "sync-get": lambda: check(len(zk.get(path)[0]), size),
        "sync-set": lambda: zk.set(path, data),
        "sync-list": lambda: check(len(zk.get_children(f"/zk-bench-list-{size}")), size),
    }[work]
    while True:
        start = time.perf_counter()
        call()
        if not worker.did(start):
            return


def pipe(worker):
    issue = {
        "pipe-get": lambda: zk.get_async(path),
        "pipe-set": lambda: zk.set_async(path, data),
        "pipe-create": lambda: zk.create_async(
            "/zk-bench/e-", data, ephemeral=True, sequence=True
        ),
    }[work]
    reading = work == "pipe-get"
    pending = deque()
    while True:
        while len(pending) < n:
            pending.append(issue())
        answer = pending.popleft().get()
        if reading:
            check(len(answer[0]), size)
        if not worker.did():
            break
    for answer in pending:
        answer.get()


def watch(worker):
    over = threading.Event()

    def armed(answer):
        if stage != OVER and len(answer.get()[0]) != 100:
            fail("another length")

    def arm(name):
        def fired(event):
            if event.type != "CHANGED":
                return over.is_set() or stage == OVER or fail(event.type)
            if worker.did():
                arm(name)
            else:
                over.set()

        zk.get_async(name, watch=fired).rawlink(armed)

    for i in range(n):
        arm(f"/w{i:06}")
    over.wait()


def lock(worker):
    mine = zk.Lock("/zk-bench-lock")
    while True:
        start = time.perf_counter()
        mine.acquire()
        mine.release()
        if not worker.did(start):
            return


def set_watches():
    pending = deque()
    for i in range(n):
        pending.append(zk.exists_async(f"/zk-bench/{i:06}", watch=lambda event: None))
        if len(pending) == 1000:
            pending.popleft().get()
    for answer in pending:
        answer.get()


def go():
    return sys.stdin.readline()


def wait_end():
    while go():
        pass
    os._exit(0)


def once():
    check(len(zk.get(NODE)[0]), 100)
    if work == "connect":
        stamp("answered")
    elif work == "inflight":
        say("ready")
        go()
        pending = [zk.get_async(NODE) for _ in range(n)]
        say("full")
        for answer in pending:
            check(len(answer.get()[0]), 100)
        say("done")
    elif work == "watched":
        say("ready")
        go()
        set_watches()
        say("full")
    elif work == "rearm":
        set_watches()

        def answer_again():
            try:
                zk.get(NODE)
                stamp("answered")
            except Exception:
                pass

        def heard(state):
            if state == KazooState.CONNECTED:
                stamp("resumed")
                threading.Thread(target=answer_again).start()

        zk.add_listener(heard)
        say("ready")
    elif work == "delete":
        say("ready")
        go()
        zk.delete("/zk-bench-tree", recursive=True)
        say("done")
        if zk.exists("/zk-bench-tree"):
            fail("it is still there")
    else:
        os._exit(NO_SUCH_CALL)
    wait_end()


def reading():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return (
        time.perf_counter(),
        sum(worker.calls for worker in workers),
        (usage.ru_utime + usage.ru_stime) * 1e6,
        usage.ru_nvcsw + usage.ru_nivcsw,
    )


zk = KazooClient(hosts=address, timeout=30)
zk.start()
run = {"lock": lock, "watch": watch}.get(work)
run = run or (sync if work.startswith("sync-") else pipe if work.startswith("pipe-") else None)
if run is None:
    once()
workers = [Worker() for _ in range(n if run in (sync, lock) else 1)]


def guarded(worker):
    try:
        run(worker)
    except Exception as error:
        fail(repr(error))


threads = [threading.Thread(target=guarded, args=(worker,)) for worker in workers]
if stage == MEASURING:
    limit = int(length) // len(workers)
    before = reading()
for thread in threads:
    thread.start()
if limit is None:
    time.sleep(WARM_UP)
    stage = MEASURING
    before = reading()
    time.sleep(float(length[:-1]))
    after = reading()
    stage = OVER
for thread in threads:
    thread.join()
if limit is not None:
    after = reading()
seconds, calls, cpu, switches = (b - a for a, b in zip(before, after))
line = f"calls {calls} seconds {seconds:.6f} cpu_us {cpu:.0f} switches {switches}"
if times:
    times.sort()
    p50, p99 = (times[len(times) * share // 100] * 1e6 for share in (50, 99))
    line += f" p50_us {p50:.2f} p99_us {p99:.2f}"
say(line)
while go():
    pass
zk.stop()
os._exit(0)
