import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.lang.management.ManagementFactory;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Instant;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.Semaphore;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.atomic.AtomicLongArray;
import java.util.stream.Stream;
import org.apache.zookeeper.AsyncCallback;
import org.apache.zookeeper.CreateMode;
import org.apache.zookeeper.KeeperException.Code;
import org.apache.zookeeper.Watcher;
import org.apache.zookeeper.Watcher.Event.EventType;
import org.apache.zookeeper.Watcher.Event.KeeperState;
import org.apache.zookeeper.ZKUtil;
import org.apache.zookeeper.ZooDefs;
import org.apache.zookeeper.ZooKeeper;

/**
 * The Java client of ZooKeeper, measured. Same command line and output as `zk-bench client`.
 *
 * <p>Driver java HOST:PORT WORK N LENGTH SIZE
 */
public class Driver {
    static final int NO_SUCH_CALL = 64;
    static final int WARMING_UP = 0, MEASURING = 1, OVER = 2;
    static final String NODE = "/zk-bench-100";
    /** The just-in-time compiler takes its time. */
    static final long WARM_UP_MS = 1500;

    static ZooKeeper zk;
    static String work, path;
    static int n, size;
    static byte[] data;
    static volatile int stage = WARMING_UP;
    static volatile boolean rearming;
    static long limit = Long.MAX_VALUE;
    static final BufferedReader in = new BufferedReader(new InputStreamReader(System.in));
    /** 32 buckets for each doubling of a time in nanoseconds. */
    static final AtomicLongArray times = new AtomicLongArray(40 * 32);

    interface Call {
        void run() throws Exception;
    }

    /** The calls of one thread, which alone writes them. */
    static class Worker {
        final AtomicLong calls = new AtomicLong();

        /** Counts a call; false when the measurement is over. */
        boolean did() {
            long now = calls.get() + 1;
            calls.lazySet(now);
            return now < limit && stage != OVER;
        }

        boolean took(long start) {
            if (stage == MEASURING) {
                long nanos = Math.max(32, System.nanoTime() - start);
                int doublings = 63 - Long.numberOfLeadingZeros(nanos) - 5;
                times.incrementAndGet((int) ((doublings + 1) * 32 + (nanos >> doublings) - 32));
            }
            return did();
        }
    }

    static double percentile(int share) {
        long total = 0, seen = 0;
        for (int i = 0; i < times.length(); i++) total += times.get(i);
        for (int i = 32; i < times.length() && total > 0; i++) {
            seen += times.get(i);
            if (seen * 100 >= total * share) return (double) ((32L + i % 32) << (i / 32 - 1));
        }
        return -1;
    }

    static void say(String word) {
        System.out.println(word);
        System.out.flush();
    }

    static void stamp(String word) {
        Instant now = Instant.now();
        say(word + " " + (now.getEpochSecond() * 1_000_000_000L + now.getNano()));
    }

    static void fail(Object what) {
        if (stage == OVER) return;
        System.err.println(work + ": " + what);
        Runtime.getRuntime().halt(1);
    }

    static void check(int got, int wanted) {
        if (got != wanted) fail(got + " instead of " + wanted);
    }

    static boolean go() throws IOException {
        return in.readLine() != null;
    }

    static void waitEnd() throws IOException {
        while (go()) {}
        Runtime.getRuntime().halt(0);
    }

    // ---- one call after the other ----

    static Call blocking() {
        switch (work) {
            case "sync-get":
                return () -> check(zk.getData(path, false, null).length, size);
            case "sync-set":
                return () -> zk.setData(path, data, -1);
            case "sync-list":
                String list = "/zk-bench-list-" + size;
                return () -> check(zk.getChildren(list, false).size(), size);
            default:
                return null;
        }
    }

    // ---- many at a time: an issuing thread, held by a semaphore ----

    static void pipe(Worker worker) throws Exception {
        Semaphore room = new Semaphore(n);
        AsyncCallback.DataCallback got = (rc, p, ctx, value, stat) -> {
            if (rc != 0) fail(Code.get(rc));
            else check(value.length, size);
            worker.did();
            room.release();
        };
        AsyncCallback.StatCallback set = (rc, p, ctx, stat) -> {
            if (rc != 0) fail(Code.get(rc));
            worker.did();
            room.release();
        };
        AsyncCallback.StringCallback created = (rc, p, ctx, name) -> {
            if (rc != 0) fail(Code.get(rc));
            worker.did();
            room.release();
        };
        while (stage != OVER && worker.calls.get() < limit) {
            room.acquire();
            switch (work) {
                case "pipe-get":
                    zk.getData(path, false, got, null);
                    break;
                case "pipe-set":
                    zk.setData(path, data, -1, set, null);
                    break;
                default:
                    zk.create("/zk-bench/e-", data, ZooDefs.Ids.OPEN_ACL_UNSAFE,
                            CreateMode.EPHEMERAL_SEQUENTIAL, created, null);
            }
        }
        room.acquire(n);
    }

    // ---- watches ----

    static class Rearming implements Watcher {
        final Worker worker;
        final String name;
        final CountDownLatch over;

        Rearming(Worker worker, String name, CountDownLatch over) {
            this.worker = worker;
            this.name = name;
            this.over = over;
        }

        void arm() {
            zk.getData(name, this, (rc, p, ctx, value, stat) -> {
                if (rc != 0) fail(Code.get(rc));
                else check(value.length, 100);
            }, null);
        }

        @Override
        public void process(org.apache.zookeeper.WatchedEvent event) {
            if (event.getType() != EventType.NodeDataChanged) fail(event);
            else if (worker.did()) arm();
            else over.countDown();
        }
    }

    static void watch(Worker worker) throws Exception {
        CountDownLatch over = new CountDownLatch(1);
        for (int i = 0; i < n; i++) new Rearming(worker, String.format("/w%06d", i), over).arm();
        over.await();
    }

    // ---- what is done once ----

    static void setWatches() throws Exception {
        Semaphore room = new Semaphore(1000);
        Watcher ignore = event -> {};
        for (int i = 0; i < n; i++) {
            room.acquire();
            zk.exists(String.format("/zk-bench/%06d", i), ignore, (rc, p, ctx, stat) -> {
                if (rc != 0 && rc != Code.NONODE.intValue()) fail(Code.get(rc));
                room.release();
            }, null);
        }
        room.acquire(1000);
    }

    static void once() throws Exception {
        check(zk.getData(NODE, false, null).length, 100);
        switch (work) {
            case "connect":
                stamp("answered");
                break;
            case "inflight":
                say("ready");
                go();
                CountDownLatch left = new CountDownLatch(n);
                for (int i = 0; i < n; i++) {
                    zk.getData(NODE, false, (rc, p, ctx, value, stat) -> {
                        if (rc != 0) fail(Code.get(rc));
                        left.countDown();
                    }, null);
                }
                say("full");
                left.await();
                say("done");
                break;
            case "watched":
                say("ready");
                go();
                setWatches();
                say("full");
                break;
            case "rearm":
                setWatches();
                rearming = true;
                say("ready");
                break;
            case "delete":
                say("ready");
                go();
                if (!ZKUtil.deleteRecursive(zk, "/zk-bench-tree", 1000)) fail("not all deleted");
                say("done");
                break;
            default:
                Runtime.getRuntime().halt(NO_SUCH_CALL);
        }
        waitEnd();
    }

    static void answerAgain() {
        try {
            zk.getData(NODE, false, null);
            stamp("answered");
        } catch (Exception ignored) {
            // Cut once more: the next connection tells.
        }
    }

    // ---- figures ----

    static long switches() throws IOException {
        long sum = 0;
        try (Stream<Path> tasks = Files.list(Path.of("/proc/self/task"))) {
            for (Path task : (Iterable<Path>) tasks::iterator) {
                List<String> lines;
                try {
                    lines = Files.readAllLines(task.resolve("status"));
                } catch (IOException ended) {
                    continue;
                }
                for (String line : lines) {
                    if (line.contains("voluntary_ctxt_switches:"))
                        sum += Long.parseLong(line.substring(line.indexOf(':') + 1).trim());
                }
            }
        }
        return sum;
    }

    /** Nanoseconds, calls, CPU nanoseconds, context switches. */
    static long[] reading(Worker[] workers) throws IOException {
        var os = (com.sun.management.OperatingSystemMXBean)
                ManagementFactory.getOperatingSystemMXBean();
        long switches = switches();
        long calls = Arrays.stream(workers).mapToLong(w -> w.calls.get()).sum();
        return new long[] {System.nanoTime(), calls, os.getProcessCpuTime(), switches};
    }

    /** Measures what the workers do, prints the figures, waits for the end. */
    static void measure(Worker[] workers, Thread[] threads, String length) throws Exception {
        long[] before = null, after = null;
        boolean timed = length.endsWith("s");
        if (!timed) {
            limit = Long.parseLong(length) / workers.length;
            stage = MEASURING;
            before = reading(workers);
        }
        for (Thread thread : threads) thread.start();
        if (timed) {
            Thread.sleep(WARM_UP_MS);
            before = reading(workers);
            stage = MEASURING;
            double seconds = Double.parseDouble(length.substring(0, length.length() - 1));
            Thread.sleep((long) (seconds * 1000));
            after = reading(workers);
            stage = OVER;
        }
        for (Thread thread : threads) thread.join();
        if (!timed) after = reading(workers);
        String line = String.format("calls %d seconds %.6f cpu_us %d switches %d",
                after[1] - before[1], (after[0] - before[0]) / 1e9, (after[2] - before[2]) / 1000,
                after[3] - before[3]);
        if (percentile(50) > 0)
            line += String.format(" p50_us %.2f p99_us %.2f", percentile(50) / 1e3,
                    percentile(99) / 1e3);
        say(line);
        while (go()) {}
    }

    static Thread[] threads(Worker[] workers, java.util.function.Function<Worker, Call> call) {
        return Arrays.stream(workers).map(worker -> new Thread(() -> {
            try {
                call.apply(worker).run();
            } catch (Exception error) {
                fail(error);
            }
        })).toArray(Thread[]::new);
    }

    static Worker[] workers(int count) {
        return Stream.generate(Worker::new).limit(count).toArray(Worker[]::new);
    }

    static void parse(String[] args) {
        work = args[2];
        n = Integer.parseInt(args[3]);
        size = Integer.parseInt(args[5]);
        path = "/zk-bench-" + size;
        data = new byte[size];
        Arrays.fill(data, (byte) 'x');
    }

    public static void main(String[] args) throws Exception {
        parse(args);
        CountDownLatch connected = new CountDownLatch(1);
        zk = new ZooKeeper(args[1], 30000, event -> {
            if (event.getState() != KeeperState.SyncConnected) return;
            if (event.getType() != EventType.None) return;
            connected.countDown();
            if (rearming) {
                stamp("resumed");
                new Thread(Driver::answerAgain).start();
            }
        });
        connected.await();
        Call call = blocking();
        if (call != null) {
            Worker[] workers = workers(n);
            measure(workers, threads(workers, worker -> () -> {
                long start;
                do {
                    start = System.nanoTime();
                    call.run();
                } while (worker.took(start));
            }), args[4]);
        } else if (work.startsWith("pipe-") || work.equals("watch")) {
            Worker[] workers = workers(1);
            boolean watching = work.equals("watch");
            measure(workers, threads(workers, worker -> () -> {
                if (watching) watch(worker);
                else pipe(worker);
            }), args[4]);
        } else {
            once();
        }
        zk.close();
        Runtime.getRuntime().halt(0);
    }
}
