"""Real Kazoo recipes in a process of their own, at the word of a test.

Each line on standard input is `id verb argument ...`, with tabs between. Each is done in a thread of
its own and answered with `id answer` on standard output, in the order in which they end. `led NAME`
comes in between when an election is won.
"""

import datetime
import sys
import threading

from kazoo.client import KazooClient
from kazoo.exceptions import CancelledError, LockTimeout
from kazoo.recipe.lease import MultiNonBlockingLease, NonBlockingLease

made = {}
gates = {}
out = threading.Lock()


def say(*words):
    with out:
        print("\t".join(str(word) for word in words), flush=True)


def new(zk, name, kind, path, identifier, *rest):
    if kind == "semaphore":
        made[name] = zk.Semaphore(path, identifier, max_leases=int(rest[0]))
    elif kind == "election":
        made[name] = zk.Election(path, identifier)
    else:
        recipe = {"lock": zk.Lock, "read": zk.ReadLock, "write": zk.WriteLock}[kind]
        made[name] = recipe(path, identifier, extra_lock_patterns=rest)
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


VERBS = {
    "new": new,
    "acquire": lambda zk, name: made[name].acquire(),
    "acquire_timeout": lambda zk, name, s: made[name].acquire(timeout=float(s)),
    "try": lambda zk, name: made[name].acquire(blocking=False),
    "release": lambda zk, name: made[name].release(),
    "cancel": lambda zk, name: made[name].cancel(),
    "contenders": lambda zk, name: ",".join(made[name].contenders()),
    "holders": lambda zk, name: ",".join(sorted(made[name].lease_holders())),
    "run": run,
    "stop": lambda zk, name: gates[name].set(),
    "lease": lease,
    "multi": multi,
}


def do(zk, number, verb, arguments):
    try:
        say(number, VERBS[verb](zk, *arguments))
    except (CancelledError, LockTimeout, ValueError) as error:
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
