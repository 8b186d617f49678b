/* The C client of ZooKeeper, measured. Same command line and output as `zk-bench client`.
 *
 *   driver c|c-nodns HOST:PORT WORK N LENGTH SIZE
 *
 * c-nodns is c without the resolution of the servers' names that it does on each turn of its loop.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>
#include <zookeeper/zookeeper.h>

enum { NO_SUCH_CALL = 64, LISTED = 16 };
enum { WARMING_UP, MEASURING, OVER };

static zhandle_t *zk;
static const char *work;
static int n, size;
static double seconds;       /* 0: limit counts */
static long limit;
static char path[64], list[64];
static char *data;
static atomic_int stage;
static sem_t connected, room, over;

/* ---- time, and what the process used ---- */

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static void stamp(const char *word) {
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    printf("%s %lld\n", word, t.tv_sec * 1000000000LL + t.tv_nsec);
    fflush(stdout);
}

static void say(const char *word) {
    puts(word);
    fflush(stdout);
}

static atomic_int closing;

static void fail(const char *what, int rc) {
    if (closing) return;
    fprintf(stderr, "%s: %d %s\n", what, rc, zerror(rc));
    _exit(1);
}

struct reading { double at, cpu_us; long calls, switches; };

/* One worker's calls, in a cache line of its own. */
struct worker { _Alignas(128) atomic_long calls; long limit; pthread_t thread; };
static struct worker *workers;
static int worker_count;

static struct reading read_now(void) {
    struct rusage u;
    struct reading r = { .calls = 0 };
    getrusage(RUSAGE_SELF, &u);
    for (int i = 0; i < worker_count; i++) r.calls += workers[i].calls;
    r.at = now();
    r.cpu_us = (u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1e6 + u.ru_utime.tv_usec + u.ru_stime.tv_usec;
    r.switches = u.ru_nvcsw + u.ru_nivcsw;
    return r;
}

/* ---- how long calls took: 32 buckets for each doubling ---- */

static atomic_ulong buckets[40 * 32];

static void record(double start) {
    unsigned long ns = (now() - start) * 1e9;
    if (ns < 32) ns = 32;
    int doublings = 63 - __builtin_clzl(ns) - 5;
    unsigned long at = (doublings + 1) * 32 + (ns >> doublings) - 32;
    if (at < sizeof buckets / sizeof *buckets) buckets[at]++;
}

static double percentile(int share) {
    unsigned long total = 0, seen = 0, count = sizeof buckets / sizeof *buckets;
    for (unsigned long i = 0; i < count; i++) total += buckets[i];
    for (unsigned long i = 0; i < count; i++)
        if ((seen += buckets[i]) * 100 >= total * share && total)
            return i < 32 ? i : (double)((32 + i % 32) << (i / 32 - 1));
    return -1;
}

/* Counts a call; false when the measurement is over. */
static int did(struct worker *w) {
    long calls = atomic_load_explicit(&w->calls, memory_order_relaxed) + 1;
    atomic_store_explicit(&w->calls, calls, memory_order_relaxed);
    return calls < w->limit && stage != OVER;
}

/* ---- one call after the other ---- */

static void check_length(int rc, int got, int wanted) {
    if (closing) return;
    if (rc != ZOK) fail(work, rc);
    if (got != wanted) { fprintf(stderr, "%s: %d instead of %d\n", work, got, wanted); _exit(1); }
}

static void *sync_worker(void *arg) {
    struct worker *w = arg;
    char *buffer = malloc(size + 1);
    double start;
    do {
        struct Stat stat;
        int got = size;
        start = now();
        if (!strcmp(work, "sync-get")) {
            int rc = zoo_get(zk, path, 0, buffer, &got, &stat);
            check_length(rc, got, size);
        } else if (!strcmp(work, "sync-set")) {
            check_length(zoo_set2(zk, path, data, size, -1, &stat), 0, 0);
        } else {
            struct String_vector names;
            int rc = zoo_get_children(zk, list, 0, &names);
            check_length(rc, rc == ZOK ? names.count : 0, size);
            deallocate_String_vector(&names);
        }
        if (stage == MEASURING) record(start);
    } while (did(w));
    free(buffer);
    return NULL;
}

/* ---- many at a time: an issuing thread, held by a semaphore ---- */

static void answered(int rc) {
    if (rc != ZOK) fail(work, rc);
    sem_post(&room);
    did(workers); /* completions come on one thread */
}

static void got_data(int rc, const char *value, int len, const struct Stat *stat, const void *ctx) {
    check_length(rc, len, *(const int *)ctx);
    (void)value, (void)stat;
    answered(rc);
}
static void got_stat(int rc, const struct Stat *stat, const void *ctx) {
    (void)stat, (void)ctx;
    answered(rc);
}
static void got_name(int rc, const char *name, const void *ctx) {
    (void)name, (void)ctx;
    answered(rc);
}

static void issue(void) {
    int rc;
    if (!strcmp(work, "pipe-get")) rc = zoo_aget(zk, path, 0, got_data, &size);
    else if (!strcmp(work, "pipe-set")) rc = zoo_aset(zk, path, data, size, -1, got_stat, NULL);
    else rc = zoo_acreate(zk, "/zk-bench/e-", data, size, &ZOO_OPEN_ACL_UNSAFE,
                          ZOO_EPHEMERAL | ZOO_SEQUENCE, got_name, NULL);
    if (rc != ZOK) fail(work, rc);
}

static void *pipe_worker(void *arg) {
    struct worker *w = arg;
    while (w->calls < w->limit && stage != OVER) {
        sem_wait(&room);
        issue();
    }
    for (int i = 0; i < n; i++) sem_wait(&room);
    return NULL;
}

/* ---- watches ---- */

static const int hundred = 100;
static char (*watched)[16];

static void fired(zhandle_t *z, int type, int state, const char *p, void *ctx);

static void armed(int rc, const char *value, int len, const struct Stat *stat, const void *ctx) {
    (void)value, (void)stat, (void)ctx;
    check_length(rc, len, hundred);
}
static void fired(zhandle_t *z, int type, int state, const char *p, void *ctx) {
    (void)state, (void)p;
    if (type == ZOO_SESSION_EVENT) return;
    if (type != ZOO_CHANGED_EVENT) fail("event", type);
    if (!did(workers)) { sem_post(&over); return; }
    int rc = zoo_awget(z, ctx, fired, ctx, armed, NULL);
    if (rc != ZOK) fail(work, rc);
}
static void *watch_worker(void *arg) {
    (void)arg;
    watched = calloc(n, sizeof *watched);
    for (int i = 0; i < n; i++) {
        snprintf(watched[i], sizeof *watched, "/w%06d", i);
        int rc = zoo_awget(zk, watched[i], fired, watched[i], armed, NULL);
        if (rc != ZOK) fail(work, rc);
    }
    sem_wait(&over);
    return NULL;
}

/* ---- the session ---- */

static atomic_int rearming;

static void *answer_again(void *arg) {
    char buffer[128];
    int got = sizeof buffer;
    (void)arg;
    int rc = zoo_get(zk, "/zk-bench-100", 0, buffer, &got, NULL);
    if (rc == ZOK) stamp("answered");
    return NULL;
}

static void on_session(zhandle_t *z, int type, int state, const char *p, void *ctx) {
    (void)z, (void)p, (void)ctx;
    if (type != ZOO_SESSION_EVENT || state != ZOO_CONNECTED_STATE) return;
    if (rearming) {
        pthread_t thread;
        stamp("resumed");
        pthread_create(&thread, NULL, answer_again, NULL);
        pthread_detach(thread);
    } else {
        sem_post(&connected);
    }
}

static void get_once(void) {
    char buffer[128];
    int got = sizeof buffer;
    int rc = zoo_get(zk, "/zk-bench-100", 0, buffer, &got, NULL);
    check_length(rc, got, 100);
}

static int go(void) {
    char line[64];
    return fgets(line, sizeof line, stdin) != NULL;
}

static void ignore_event(zhandle_t *z, int type, int state, const char *p, void *ctx) {
    (void)z, (void)type, (void)state, (void)p, (void)ctx;
}
static void set_one(int rc, const struct Stat *stat, const void *ctx) {
    (void)stat, (void)ctx;
    if (rc != ZOK && rc != ZNONODE) fail("exists", rc);
    sem_post(&room);
}

static void set_watches(void) {
    char name[32];
    for (int i = 0; i < n; i++) {
        sem_wait(&room);
        snprintf(name, sizeof name, "/zk-bench/%06d", i);
        int rc = zoo_awexists(zk, name, ignore_event, NULL, set_one, NULL);
        if (rc != ZOK) fail("exists", rc);
    }
    for (int i = 0; i < 1000; i++) sem_wait(&room);
}

static atomic_long left;
static void one_done(int rc, const char *value, int len, const struct Stat *stat, const void *ctx) {
    (void)value, (void)stat, (void)ctx;
    check_length(rc, len, hundred);
    if (--left == 0) sem_post(&over);
}

/* What is done once. */
static void once(void) {
    get_once();
    if (!strcmp(work, "connect")) {
        stamp("answered");
    } else if (!strcmp(work, "inflight")) {
        say("ready");
        go();
        left = n;
        for (int i = 0; i < n; i++) {
            int rc = zoo_aget(zk, "/zk-bench-100", 0, one_done, NULL);
            if (rc != ZOK) fail(work, rc);
        }
        say("full");
        sem_wait(&over);
        say("done");
    } else if (!strcmp(work, "watched")) {
        say("ready");
        go();
        set_watches();
        say("full");
    } else if (!strcmp(work, "rearm")) {
        set_watches();
        rearming = 1;
        say("ready");
    } else {
        exit(NO_SUCH_CALL);
    }
    while (go()) {}
    _exit(0);
}

int main(int argc, char **argv) {
    if (argc != 7) {
        fprintf(stderr, "driver c|c-nodns HOST:PORT WORK N LENGTH SIZE\n");
        return 1;
    }
    work = argv[3];
    n = atoi(argv[4]);
    size = atoi(argv[6]);
    if (argv[5][strlen(argv[5]) - 1] == 's') seconds = atof(argv[5]);
    else limit = atol(argv[5]);
    snprintf(path, sizeof path, "/zk-bench-%d", size);
    snprintf(list, sizeof list, "/zk-bench-list-%d", size);
    data = malloc(size + 1);
    memset(data, 'x', size);
    int blocking = !strncmp(work, "sync-", 5);
    int watching = !strcmp(work, "watch");
    int many = !strncmp(work, "pipe-", 5);
    sem_init(&connected, 0, 0);
    sem_init(&room, 0, many ? n : 1000);
    sem_init(&over, 0, 0);

    zoo_set_debug_level(0); /* a connection that is cut on purpose is no news */
    zk = zookeeper_init(argv[2], on_session, 30000, NULL, NULL, 0);
    if (!zk) fail("zookeeper_init", ZSYSTEMERROR);
    if (!strcmp(argv[1], "c-nodns")) zoo_set_servers_resolution_delay(zk, -1);
    sem_wait(&connected);
    if (!blocking && !many && !watching) once();

    worker_count = blocking ? n : 1;
    workers = aligned_alloc(128, worker_count * sizeof *workers);
    memset(workers, 0, worker_count * sizeof *workers);
    struct reading before, after;
    if (!seconds) {
        stage = MEASURING;
        before = read_now();
    }
    for (int i = 0; i < worker_count; i++) {
        workers[i].limit = seconds ? __LONG_MAX__ : limit / worker_count;
        pthread_create(&workers[i].thread, NULL,
                       blocking ? sync_worker : many ? pipe_worker : watch_worker, &workers[i]);
    }
    if (seconds) {
        usleep(200000);
        stage = MEASURING;
        before = read_now();
        usleep(seconds * 1e6);
        after = read_now();
        stage = OVER;
    }
    for (int i = 0; i < worker_count; i++) pthread_join(workers[i].thread, NULL);
    if (!seconds) after = read_now();

    printf("calls %ld seconds %.6f cpu_us %.0f switches %ld", after.calls - before.calls,
           after.at - before.at, after.cpu_us - before.cpu_us, after.switches - before.switches);
    if (percentile(50) >= 0)
        printf(" p50_us %.2f p99_us %.2f", percentile(50) / 1e3, percentile(99) / 1e3);
    puts("");
    fflush(stdout);
    while (go()) {}
    closing = 1;
    zookeeper_close(zk);
    return 0;
}
