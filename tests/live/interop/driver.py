"""Real Kazoo recipes in a process of their own, at the word of a test.

Each line on standard input is `id verb argument ...`, with tabs between. Each is done in a thread of
its own and answered with `id answer` on standard output, in the order in which they end. `led NAME`
comes in between when an election is won.
"""

import datetime
import sys
import threading
import time

from kazoo.client import KazooClient
from kazoo.recipe.lease import MultiNonBlockingLease, NonBlockingLease

made = {}
gates = {}
out = threading.Lock()


def say(*words):
    with out:
        print("\t".join(str(word) for word in words), flush=True)


def lock(recipe):
    return lambda zk, path, identifier, *patterns: getattr(zk, recipe)(
        path, identifier, extra_lock_patterns=patterns
    )


KINDS = {
    "barrier": lambda zk, path: zk.Barrier(path),
    "bytes": lambda zk, path: zk.Counter(path, support_curator=True),
    "double": lambda zk, path, count, who: zk.DoubleBarrier(path, int(count), who),
    "election": lambda zk, path, identifier: zk.Election(path, identifier),
    "float": lambda zk, path: zk.Counter(path, default=0.0),
    "int": lambda zk, path: zk.Counter(path),
    "lock": lock("Lock"),
    "locking": lambda zk, path: zk.LockingQueue(path),
    "partitioner": lambda zk, path, identifier, settle, *items: zk.SetPartitioner(
        path, items, identifier=identifier, time_boundary=float(settle), max_reaction_time=0.2
    ),
    "party": lambda zk, path, identifier: zk.Party(path, identifier),
    "queue": lambda zk, path: zk.Queue(path),
    "read": lock("ReadLock"),
    "semaphore": lambda zk, path, who, most: zk.Semaphore(path, who, max_leases=int(most)),
    "shallow": lambda zk, path, identifier: zk.ShallowParty(path, identifier),
    "write": lock("WriteLock"),
}


def new(zk, name, kind, *rest):
    made[name] = KINDS[kind](zk, *rest)
    return "made"


def run(zk, name):
    gates[name] = threading.Event()

    def lead():
        say("led", name)
        gates[name].wait()

    made[name].run(lead)
    return "ended"


def lease(zk, path, seconds, identifier, skew):
    def clock():
        return datetime.datetime.utcnow() + datetime.timedelta(seconds=float(skew))

    duration = datetime.timedelta(seconds=float(seconds))
    return bool(NonBlockingLease(zk, path, duration, identifier, utcnow=clock))


def multi(zk, count, path, seconds, identifier):
    duration = datetime.timedelta(seconds=float(seconds))
    return bool(MultiNonBlockingLease(zk, int(count), path, duration, identifier))


def add(zk, name, number, times="1"):
    counter = made[name]
    for _ in range(int(times)):
        counter += counter.default_type(number)
    return counter.post_value


def text(item):
    return None if item is None else item.decode()


def drain(zk, name):
    """Takes until there is nothing more."""
    return ",".join(iter(lambda: text(made[name].get()), None))


def serve(zk, name):
    """Does as Kazoo's documentation has a member do, until it fails or is finished."""
    member = made[name]
    while not member.failed:
        if member.release:
            member.release_set()
        elif member.allocating:
            member.wait_for_acquire(0.05)
        else:
            time.sleep(0.01)
    return "over"


def work(zk, name, seconds):
    """Gets and consumes until nothing comes for so long."""
    done = []
    while (item := made[name].get(float(seconds))) is not None:
        if made[name].consume():
            done.append(text(item))
    return ",".join(done)


VERBS = {
    "acquire": lambda zk, name: made[name].acquire(),
    "acquire_timeout": lambda zk, name, s: made[name].acquire(timeout=float(s)),
    "add": add,
    "cancel": lambda zk, name: made[name].cancel(),
    "consume": lambda zk, name: made[name].consume(),
    "contenders": lambda zk, name: ",".join(made[name].contenders()),
    "create": lambda zk, name: made[name].create(),
    "drain": drain,
    "enter": lambda zk, name: made[name].enter(),
    "finish": lambda zk, name: made[name].finish(),
    "get": lambda zk, name, *s: text(made[name].get(*map(float, s))),
    "holders": lambda zk, name: ",".join(sorted(made[name].lease_holders())),
    "holds": lambda zk, name: made[name].holds_lock(),
    "is_inside": lambda zk, name: made[name].participating,
    "join": lambda zk, name: made[name].join(),
    "lease": lease,
    "leave": lambda zk, name: made[name].leave(),
    "len": lambda zk, name: len(made[name]),
    "members": lambda zk, name: ",".join(sorted(made[name])),
    "multi": multi,
    "new": new,
    "put": lambda zk, name, item, priority: made[name].put(item.encode(), int(priority)),
    "release": lambda zk, name: made[name].release(),
    "release_set": lambda zk, name: made[name].release_set(),
    "remove": lambda zk, name: made[name].remove(),
    "run": run,
    "serve": serve,
    "share": lambda zk, name: ",".join(made[name]) if made[name].acquired else "none",
    "state": lambda zk, name: made[name].state,
    "stop": lambda zk, name: gates[name].set(),
    "try": lambda zk, name: made[name].acquire(blocking=False),
    "value": lambda zk, name: made[name].value,
    "wait": lambda zk, name, s: made[name].wait(float(s)),
    "work": work,
}


def do(zk, number, verb, arguments):
    try:
        say(number, VERBS[verb](zk, *arguments))
    # The test knows which it wants, and shows any other.
    except Exception as error:
        say(number, type(error).__name__)


def main():
    zk = KazooClient(hosts=sys.argv[1], timeout=float(sys.argv[2]))
    zk.start()
    say("0", "started")
    for line in sys.stdin:
        number, verb, *arguments = line.rstrip("\n").split("\t")
        threading.Thread(target=do, args=(zk, number, verb, arguments), daemon=True).start()
    zk.stop()


main()
