import java.io.BufferedReader;
import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.HashMap;
import java.util.Iterator;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicReference;
import java.util.function.Function;
import org.apache.curator.RetryPolicy;
import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.CuratorFrameworkFactory;
import org.apache.curator.framework.recipes.atomic.AtomicValue;
import org.apache.curator.framework.recipes.atomic.DistributedAtomicInteger;
import org.apache.curator.framework.recipes.atomic.DistributedAtomicLong;
import org.apache.curator.framework.recipes.atomic.DistributedAtomicNumber;
import org.apache.curator.framework.recipes.barriers.DistributedBarrier;
import org.apache.curator.framework.recipes.barriers.DistributedDoubleBarrier;
import org.apache.curator.framework.recipes.leader.LeaderLatch;
import org.apache.curator.framework.recipes.leader.LeaderLatchListener;
import org.apache.curator.framework.recipes.leader.LeaderSelector;
import org.apache.curator.framework.recipes.leader.LeaderSelectorListenerAdapter;
import org.apache.curator.framework.recipes.leader.Participant;
import org.apache.curator.framework.recipes.locks.InterProcessMutex;
import org.apache.curator.framework.recipes.locks.InterProcessReadWriteLock;
import org.apache.curator.framework.recipes.locks.InterProcessSemaphoreV2;
import org.apache.curator.framework.recipes.locks.Lease;
import org.apache.curator.framework.recipes.locks.Revoker;
import org.apache.curator.framework.recipes.nodes.GroupMember;
import org.apache.curator.framework.recipes.nodes.PersistentNode;
import org.apache.curator.framework.recipes.queue.DistributedDelayQueue;
import org.apache.curator.framework.recipes.queue.DistributedIdQueue;
import org.apache.curator.framework.recipes.queue.DistributedPriorityQueue;
import org.apache.curator.framework.recipes.queue.DistributedQueue;
import org.apache.curator.framework.recipes.queue.MultiItem;
import org.apache.curator.framework.recipes.queue.QueueAllocator;
import org.apache.curator.framework.recipes.queue.QueueBuilder;
import org.apache.curator.framework.recipes.queue.QueueConsumer;
import org.apache.curator.framework.recipes.queue.QueueSerializer;
import org.apache.curator.framework.recipes.queue.QueueSharder;
import org.apache.curator.framework.recipes.queue.QueueSharderPolicies;
import org.apache.curator.framework.recipes.queue.SimpleDistributedQueue;
import org.apache.curator.framework.recipes.shared.SharedCount;
import org.apache.curator.framework.recipes.shared.VersionedValue;
import org.apache.curator.framework.state.ConnectionState;
import org.apache.curator.retry.ExponentialBackoffRetry;
import org.apache.curator.x.discovery.ServiceCache;
import org.apache.curator.x.discovery.ServiceDiscovery;
import org.apache.curator.x.discovery.ServiceDiscoveryBuilder;
import org.apache.curator.x.discovery.ServiceInstance;
import org.apache.curator.x.discovery.ServiceInstanceBuilder;
import org.apache.curator.x.discovery.ServiceProvider;
import org.apache.curator.x.discovery.ServiceType;
import org.apache.curator.x.discovery.UriSpec;
import org.apache.curator.x.discovery.strategies.RoundRobinStrategy;
import org.apache.zookeeper.CreateMode;

/**
 * Real Curator recipes in a process of their own, at the word of a test.
 *
 * <p>Each line on standard input is `id connect name verb argument ...`, with tabs between. A client
 * is made for each connect string when it is first heard of, a recipe under a name by the verb `new`.
 * What is asked of one name is done in a thread of its own, in turn, as a mutex belongs to the thread
 * that acquired it; and answered with `id answer` on standard output. Ends with its input.
 */
public class Driver {
    interface Verb {
        Object run(String... words) throws Exception;
    }

    interface Act {
        void run(String... words) throws Exception;
    }

    /** One recipe, and the thread in which it is used. */
    static class Made {
        final ExecutorService thread = Executors.newSingleThreadExecutor(work -> {
            Thread thread = new Thread(work);
            thread.setDaemon(true);
            return thread;
        });
        final Map<String, Verb> verbs = new HashMap<>();
    }

    static final RetryPolicy RETRY = new ExponentialBackoffRetry(20, 12);
    static final PrintStream out =
            new PrintStream(new FileOutputStream(FileDescriptor.out), true, StandardCharsets.UTF_8);
    static final Map<String, CuratorFramework> clients = new HashMap<>();
    static final Map<String, Made> made = new HashMap<>();

    public static void main(String[] args) throws Exception {
        // For Jackson: java keeps what it compiled itself in a loader of its own.
        Thread.currentThread().setContextClassLoader(Driver.class.getClassLoader());
        int session = Integer.parseInt(args[0]);
        BufferedReader in =
                new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        say("0", "started");
        for (String line; (line = in.readLine()) != null; ) {
            String[] words = line.split("\t", -1);
            String id = words[0], connect = words[1], name = words[2], verb = words[3];
            String[] rest = Arrays.copyOfRange(words, 4, words.length);
            CuratorFramework zk = clients.computeIfAbsent(connect, hosts -> {
                CuratorFramework client =
                        CuratorFrameworkFactory.newClient(hosts, session, 15_000, RETRY);
                client.start();
                return client;
            });
            Made one = made.computeIfAbsent(connect + "\t" + name, key -> new Made());
            one.thread.submit(() -> {
                try {
                    if (verb.equals("new")) {
                        one.verbs.putAll(make(zk, rest));
                        say(id, "made");
                    } else {
                        say(id, one.verbs.get(verb).run(rest));
                    }
                } catch (Throwable why) {
                    // The test knows which it wants, and shows any other.
                    say(id, why.getClass().getSimpleName());
                }
            });
        }
        // Not by closing the clients: the test process is gone, or about to be.
        Runtime.getRuntime().halt(0);
    }

    static void say(String id, Object answer) {
        out.println(id + "\t" + answer);
    }

    static Map<String, Verb> make(CuratorFramework zk, String... words) throws Exception {
        String kind = words[0], path = words[1];
        switch (kind) {
            case "barrier":
                return barrier(new DistributedBarrier(zk, path));
            case "count":
                return count(new SharedCount(zk, path, Integer.parseInt(words[2])));
            case "counted":
                SharedCount most = new SharedCount(zk, words[2], Integer.parseInt(words[3]));
                most.start();
                return semaphore(new InterProcessSemaphoreV2(zk, path, most));
            case "delay":
            case "id":
            case "priority":
            case "queue":
                return queue(
                        zk,
                        kind,
                        path,
                        words[2],
                        words.length > 3 && !words[3].isEmpty() ? words[3] : null,
                        words.length > 4 ? Integer.parseInt(words[4]) : Integer.MAX_VALUE);
            case "discovery":
                return discovery(zk, path);
            case "double":
                return both(new DistributedDoubleBarrier(zk, path, Integer.parseInt(words[2])));
            case "int":
                return number(new DistributedAtomicInteger(zk, path, RETRY), Integer::valueOf);
            case "latch":
                return latch(words.length > 3
                        ? new LeaderLatch(zk, path, words[2], LeaderLatch.CloseMode.valueOf(words[3]))
                        : new LeaderLatch(zk, path, words[2]));
            case "long":
                return number(new DistributedAtomicLong(zk, path, RETRY), Long::valueOf);
            case "member":
                return member(new GroupMember(zk, path, words[2], bytes(words[3])));
            case "mutex":
                return mutex(zk, new InterProcessMutex(zk, path) {
                    @Override
                    protected byte[] getLockNodeBytes() {
                        return bytes(words[2]);
                    }
                });
            case "node":
                return node(new PersistentNode(
                        zk, CreateMode.valueOf(words[2]), false, path, bytes(words[3])));
            case "rwlock":
                return rwlock(new InterProcessReadWriteLock(zk, path, bytes(words[2])));
            case "selector":
                return selector(zk, path, words[2]);
            case "semaphore":
                return semaphore(new InterProcessSemaphoreV2(zk, path, Integer.parseInt(words[2])));
            case "sharder":
                return sharder(zk, path, words[2], Integer.parseInt(words[3]));
            case "simple":
                return simple(new SimpleDistributedQueue(zk, path));
            default:
                throw new IllegalArgumentException(kind);
        }
    }

    static Map<String, Verb> barrier(DistributedBarrier barrier) {
        return Map.of(
                "create", done(words -> barrier.setBarrier()),
                "remove", done(words -> barrier.removeBarrier()),
                "wait", words -> barrier.waitOnBarrier(ms(words[0]), TimeUnit.MILLISECONDS));
    }

    static Map<String, Verb> count(SharedCount count) throws Exception {
        AtomicReference<VersionedValue<Integer>> read = new AtomicReference<>();
        count.start();
        return Map.of(
                "get", words -> count.getCount(),
                "read", words -> {
                    read.set(count.getVersionedValue());
                    return read.get().getValue();
                },
                "set", done(words -> count.setCount(Integer.parseInt(words[0]))),
                "try_set", words -> count.trySetCount(read.get(), Integer.parseInt(words[0])));
    }

    /** What a record may carry; Jackson makes it by the name of the class. */
    public static class Detail {
        public String zone;
        public int weight;
    }

    static Map<String, Verb> discovery(CuratorFramework zk, String path) throws Exception {
        ServiceDiscovery<Object> discovery =
                ServiceDiscoveryBuilder.builder(Object.class).client(zk).basePath(path).build();
        discovery.start();
        Map<String, ServiceInstance<Object>> own = new HashMap<>();
        Map<String, ServiceCache<Object>> caches = new HashMap<>();
        Map<String, ServiceProvider<Object>> providers = new HashMap<>();
        return Map.of(
                "cached", words -> {
                    if (!caches.containsKey(words[0])) {
                        caches.put(words[0], discovery.serviceCacheBuilder().name(words[0]).build());
                        caches.get(words[0]).start();
                    }
                    return list(caches.get(words[0]).getInstances());
                },
                "find", words -> list(discovery.queryForInstances(words[0])),
                "names", words -> String.join(",", new TreeSet<>(discovery.queryForNames())),
                "pick", words -> {
                    if (!providers.containsKey(words[0])) {
                        providers.put(words[0], discovery.serviceProviderBuilder()
                                .serviceName(words[0])
                                .providerStrategy(new RoundRobinStrategy<Object>())
                                .build());
                        providers.get(words[0]).start();
                    }
                    ServiceInstance<Object> one = providers.get(words[0]).getInstance();
                    return one == null ? "none" : one.getId();
                },
                "register", done(words -> {
                    own.put(words[1], instance(words));
                    discovery.registerService(own.get(words[1]));
                }),
                "unregister", done(words -> discovery.unregisterService(own.remove(words[0]))),
                "update", done(words -> {
                    own.put(words[1], instance(words));
                    discovery.updateService(own.get(words[1]));
                }),
                "uri", words -> discovery.queryForInstance(words[0], words[1]).buildUriSpec());
    }

    /** Of name, id, address, port, kind, and the zone of a payload. */
    static ServiceInstance<Object> instance(String... words) throws Exception {
        ServiceInstanceBuilder<Object> builder = ServiceInstance.builder();
        builder.name(words[0]).id(words[1]).address(words[2]).port(Integer.valueOf(words[3]));
        builder.serviceType(ServiceType.valueOf(words[4]));
        builder.uriSpec(new UriSpec("{scheme}://{address}:{port}/{name}"));
        if (words.length > 5) {
            Detail detail = new Detail();
            detail.zone = words[5];
            detail.weight = 7;
            builder.payload(detail);
        }
        return builder.build();
    }

    static String list(Collection<ServiceInstance<Object>> instances) {
        Map<String, String> all = new TreeMap<>();
        for (ServiceInstance<Object> one : instances) {
            String port = one.getSslPort() == null
                    ? "" + one.getPort() : one.getPort() + "/" + one.getSslPort();
            String more = "";
            if (one.getPayload() instanceof Detail) {
                more = " " + ((Detail) one.getPayload()).zone;
            } else if (one.getPayload() != null) {
                more = " " + one.getPayload();
            }
            String off = one.isEnabled() ? "" : " off";
            all.put(one.getId(), one.getId() + "=" + one.getAddress() + ":" + port + more + off);
        }
        return String.join(",", all.values());
    }

    static Map<String, Verb> both(DistributedDoubleBarrier barrier) {
        return Map.of(
                "enter", words -> barrier.enter(ms(words[0]), TimeUnit.MILLISECONDS),
                "leave", words -> barrier.leave(ms(words[0]), TimeUnit.MILLISECONDS));
    }

    static <T> Map<String, Verb> number(
            DistributedAtomicNumber<T> number, Function<String, T> parse) {
        return Map.of(
                "add", words -> {
                    AtomicValue<T> change = null;
                    int times = words.length > 1 ? Integer.parseInt(words[1]) : 1;
                    for (int i = 0; i < times; i++) {
                        do change = number.add(parse.apply(words[0])); while (!change.succeeded());
                    }
                    return change.preValue() + " " + change.postValue();
                },
                "compare_and_set", words -> number.compareAndSet(
                        parse.apply(words[0]), parse.apply(words[1])).succeeded(),
                "get", words -> number.get().postValue(),
                "initialize", words -> number.initialize(parse.apply(words[0])),
                "set", done(words -> number.forceSet(parse.apply(words[0]))));
    }

    static Map<String, Verb> latch(LeaderLatch latch) throws Exception {
        StringBuffer heard = new StringBuffer();
        latch.addListener(new LeaderLatchListener() {
            @Override
            public void isLeader() {
                heard.append("+");
            }

            @Override
            public void notLeader() {
                heard.append("-");
            }
        });
        latch.start();
        return Map.of(
                "close", done(words -> latch.close()),
                "heard", words -> heard,
                "leader", words -> latch.getLeader().getId(),
                "leads", words -> latch.hasLeadership(),
                "participants", words -> participants(latch.getParticipants()));
    }

    static Map<String, Verb> member(GroupMember member) {
        member.start();
        return Map.of(
                "close", done(words -> member.close()),
                "members", words -> {
                    List<String> all = new ArrayList<>();
                    new TreeMap<>(member.getCurrentMembers())
                            .forEach((id, payload) -> all.add(id + "=" + text(payload)));
                    return String.join(",", all);
                },
                "set", done(words -> member.setThisData(bytes(words[0]))));
    }

    static Map<String, Verb> mutex(CuratorFramework zk, InterProcessMutex mutex) {
        AtomicBoolean asked = new AtomicBoolean();
        return Map.of(
                "acquire", done(words -> mutex.acquire()),
                "contenders", words -> {
                    List<String> all = new ArrayList<>();
                    for (String node : mutex.getParticipantNodes()) {
                        all.add(text(zk.getData().forPath(node)));
                    }
                    return String.join(",", all);
                },
                "is_asked", words -> asked.get(),
                "make_revocable", done(words -> mutex.makeRevocable(it -> asked.set(true))),
                "release", done(words -> mutex.release()),
                "revoke_first", done(words ->
                        Revoker.attemptRevoke(zk, mutex.getParticipantNodes().iterator().next())),
                "try", words -> mutex.acquire(ms(words[0]), TimeUnit.MILLISECONDS));
    }

    static Map<String, Verb> node(PersistentNode node) throws Exception {
        node.start();
        return Map.of(
                "await", words -> node.waitForInitialCreate(ms(words[0]), TimeUnit.MILLISECONDS),
                "close", done(words -> node.close()),
                "set", done(words -> node.setData(bytes(words[0]))));
    }

    /**
     * One of the queues with a consumer of its own thread. The role is what this one does: `put` has
     * no consumer, `take` consumes at once, `hold` waits in each item for the verb `go`.
     */
    static Map<String, Verb> queue(
            CuratorFramework zk, String kind, String path, String role, String lock, int most)
            throws Exception {
        BlockingQueue<String> taken = new LinkedBlockingQueue<>();
        Semaphore go = new Semaphore(0);
        AtomicBoolean fails = new AtomicBoolean();
        QueueConsumer<String> consumer = new QueueConsumer<String>() {
            @Override
            public void consumeMessage(String item) throws Exception {
                taken.add(item);
                if (role.equals("hold")) go.acquire();
                if (fails.getAndSet(false)) throw new Exception(item);
            }

            @Override
            public void stateChanged(CuratorFramework client, ConnectionState state) {}
        };
        QueueBuilder<String> builder = QueueBuilder
                .builder(zk, role.equals("put") ? null : consumer, SERIALIZER, path)
                .putInBackground(false);
        if (most < Integer.MAX_VALUE) builder.maxItems(most);
        if (lock != null) builder.lockPath(lock);
        Map<String, Verb> verbs = new HashMap<>();
        verbs.put("taken", words -> taken.poll(ms(words[0]), TimeUnit.MILLISECONDS));
        verbs.put("go", done(words -> go.release()));
        verbs.put("fail", done(words -> fails.set(true)));
        switch (kind) {
            case "delay":
                DistributedDelayQueue<String> delay = builder.buildDelayQueue();
                delay.start();
                verbs.put("close", done(words -> delay.close()));
                verbs.put("put", done(words -> delay.put(words[0], ms(words[1]))));
                verbs.put("put_multi", done(words -> delay.putMulti(multi(words[0]), ms(words[1]))));
                break;
            case "id":
                DistributedIdQueue<String> ids = builder.buildIdQueue();
                ids.start();
                verbs.put("close", done(words -> ids.close()));
                verbs.put("put", done(words -> ids.put(words[0], words[1])));
                verbs.put("remove", words -> ids.remove(words[0]));
                break;
            case "priority":
                DistributedPriorityQueue<String> sorted = builder.buildPriorityQueue(0);
                sorted.start();
                verbs.put("close", done(words -> sorted.close()));
                verbs.put("put", done(words -> sorted.put(words[0], Integer.parseInt(words[1]))));
                break;
            default:
                DistributedQueue<String> queue = builder.buildQueue();
                queue.start();
                verbs.put("close", done(words -> queue.close()));
                verbs.put("put", done(words -> queue.put(words[0])));
                verbs.put("put_timeout", words -> queue.put(words[0], Integer.parseInt(words[1]), TimeUnit.MILLISECONDS));
                verbs.put("put_multi", done(words -> queue.putMulti(multi(words[0]))));
        }
        return verbs;
    }

    static final QueueSerializer<String> SERIALIZER = new QueueSerializer<String>() {
        @Override
        public byte[] serialize(String item) {
            return bytes(item);
        }

        @Override
        public String deserialize(byte[] bytes) {
            return text(bytes);
        }
    };

    /** Its shards are queues without a consumer. */
    static Map<String, Verb> sharder(CuratorFramework zk, String path, String leader, int threshold)
            throws Exception {
        QueueSharderPolicies policies = QueueSharderPolicies.builder()
                .newQueueThreshold(threshold)
                .thresholdCheckMs(50)
                .build();
        QueueAllocator<String, DistributedQueue<String>> allocator = (client, shard) ->
                QueueBuilder.builder(client, null, SERIALIZER, shard)
                        .putInBackground(false)
                        .buildQueue();
        QueueSharder<String, DistributedQueue<String>> sharder =
                new QueueSharder<>(zk, allocator, path, leader, policies);
        sharder.start();
        return Map.of(
                "close", done(words -> sharder.close()),
                "count", words -> sharder.getShardQty(),
                "paths", words -> String.join(",", new TreeSet<>(sharder.getQueuePaths())),
                "put", done(words -> sharder.getQueue().put(words[0])));
    }

    static MultiItem<String> multi(String items) {
        Iterator<String> all = Arrays.asList(items.split(",")).iterator();
        return () -> all.hasNext() ? all.next() : null;
    }

    static Map<String, Verb> simple(SimpleDistributedQueue queue) {
        return Map.of(
                "offer", words -> queue.offer(bytes(words[0])),
                "peek", words -> text(queue.peek()),
                "poll", words -> {
                    byte[] item = queue.poll(ms(words[0]), TimeUnit.MILLISECONDS);
                    return item == null ? null : text(item);
                },
                "remove", words -> text(queue.remove()),
                "take", words -> text(queue.take()));
    }

    static Map<String, Verb> rwlock(InterProcessReadWriteLock lock) {
        Map<String, Verb> verbs = new HashMap<>();
        Map<String, InterProcessMutex> sides =
                Map.of("read", lock.readLock(), "write", lock.writeLock());
        sides.forEach((side, mutex) -> {
            verbs.put(side, done(words -> mutex.acquire()));
            verbs.put("try_" + side, words -> mutex.acquire(ms(words[0]), TimeUnit.MILLISECONDS));
            verbs.put("end_" + side, done(words -> mutex.release()));
        });
        return verbs;
    }

    /** Leads until it is told to stop, and queues again. */
    static Map<String, Verb> selector(CuratorFramework zk, String path, String id) {
        BlockingQueue<String> stops = new LinkedBlockingQueue<>();
        LeaderSelector selector = new LeaderSelector(zk, path, new LeaderSelectorListenerAdapter() {
            @Override
            public void takeLeadership(CuratorFramework client) throws InterruptedException {
                stops.take();
            }
        });
        selector.setId(id);
        selector.autoRequeue();
        selector.start();
        return Map.of(
                "close", done(words -> selector.close()),
                "leader", words -> selector.getLeader().getId(),
                "leads", words -> selector.hasLeadership(),
                "participants", words -> participants(selector.getParticipants()),
                "stop", done(words -> stops.add("now")));
    }

    static String participants(Collection<Participant> all) {
        List<String> ids = new ArrayList<>();
        for (Participant one : all) {
            ids.add(one.getId() + (one.isLeader() ? " leads" : ""));
        }
        return String.join(",", ids);
    }

    static Map<String, Verb> semaphore(InterProcessSemaphoreV2 semaphore) {
        ArrayDeque<Lease> leases = new ArrayDeque<>();
        return Map.of(
                "acquire", done(words -> leases.add(semaphore.acquire())),
                "count", words -> semaphore.getParticipantNodes().size(),
                "name", done(words -> semaphore.setNodeData(bytes(words[0]))),
                "release", done(words -> semaphore.returnLease(leases.remove())),
                "try", words -> {
                    int count = Integer.parseInt(words[1]);
                    Collection<Lease> got =
                            semaphore.acquire(count, ms(words[0]), TimeUnit.MILLISECONDS);
                    if (got != null) leases.addAll(got);
                    return got != null;
                });
    }

    static Verb done(Act act) {
        return words -> {
            act.run(words);
            return "done";
        };
    }

    static long ms(String word) {
        return Long.parseLong(word);
    }

    static byte[] bytes(String word) {
        return word.getBytes(StandardCharsets.UTF_8);
    }

    static String text(byte[] bytes) {
        return new String(bytes, StandardCharsets.UTF_8);
    }
}
