/* SPDX-License-Identifier: Apache-2.0
 *
 * Torture: threads allocate, change, hand over and free, while everything is done to them that
 * breaks a restartable sequence or a lock: signals, migration, forks, threads that end, readers,
 * memory pressure. A model (model.h) owns every object.
 *
 *     torture SCENE SECONDS THREADS SEED
 *
 * A scene is a row of `scenes`. Run it with Mallard preloaded; torture.py does, scene by scene, in
 * both access modes, and reads the box from outside meanwhile.
 *
 * More threads than CPUs run, so all of them are preempted anywhere. A thread that gets nowhere for
 * STUCK_SECONDS is a failure of its own: what is meant to be restarted must get on. At the end
 * every object is freed, and the allocator must have as many objects left as it had when the
 * threads began, but for SLACK_OBJECTS of libc's own: an object that a broken sequence dropped
 * would be missing here.
 *
 * The schedule is not the seed's to decide: a failure repeats with the seed or not at all.
 */
#include "mallard/mallard.h"
#include "model.h"

#include <dlfcn.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    THREADS_MAX = 64,
    OWN_SLOTS = 256,
    SHARED_SLOTS = 2048,
    FORK_EVERY = 20000,
    FORK_STEPS = 1000,
    SHORT_STEPS = 60,
    HOLLOW_OBJECTS = 8192,
    STUCK_SECONDS = 60,
    SLACK_OBJECTS = 64,
};
#define LARGEST_BYTES (1u << 20)
#define HOLLOW_GROWTH_BYTES (32u << 20)
#define TIMER_NS 200000
#define PATIENCE_NS 300000

enum disturbance {
    SIGNALS = 1u << 0,  /* a timer on every thread, and tgkill from another one */
    AFFINITY = 1u << 1, /* every thread is moved from CPU to CPU */
    FORKS = 1u << 2,    /* children check what they inherited, and allocate */
    EXITS = 1u << 3,    /* short threads that pass on what they made */
    SCRAPES = 1u << 4,  /* statistics, profiles and changes of the rate */
    PRESSURE = 1u << 5, /* all memory that can go back goes back, again and again */
};

static const struct scene {
    const char *name;
    unsigned disturbances;
} scenes[] = {
    {"signals", SIGNALS},
    {"affinity", AFFINITY},
    {"forks", FORKS},
    {"exits", EXITS},
    {"scrapes", SCRAPES},
    {"pressure", PRESSURE},
    {"all", SIGNALS | AFFINITY | FORKS | EXITS | SCRAPES | PRESSURE},
};

/* A slot whose object belongs to whoever holds its bit. */
struct shared_slot {
    uint32_t locked;
    struct object object;
};

struct worker {
    pthread_t thread;
    pid_t id;
    uint64_t random;
    uint64_t steps; /* relaxed; the watch reads it */
    timer_t timer;
    struct object own[OWN_SLOTS];
};

static struct shared_slot shared[SHARED_SLOTS];
static struct worker workers[THREADS_MAX];
static long worker_count;
static unsigned disturbances;
static int stop;
static uint64_t signals_seen, moves_made, children_ended, threads_ended, scrapes_made,
    releases_made, spans_hollowed;

static int (*read_memstats)(struct mallard_memstats *);
static uint64_t (*set_rate)(uint64_t);
static uint64_t (*free_os_memory)(void);

static void count(uint64_t *counter) {
    __atomic_fetch_add(counter, 1, __ATOMIC_RELAXED);
}

static bool stopped(void) {
    return __atomic_load_n(&stop, __ATOMIC_ACQUIRE);
}

static void pause_ns(long ns) {
    nanosleep(&(struct timespec){0, ns}, NULL);
}

/* ---- what a thread does with its objects ---- */

/* Mostly small, one in sixteen up to LARGEST_BYTES, evenly by powers of two. */
static size_t pick_size(uint64_t *random) {
    unsigned bits = (unsigned)(seeded_next(random) % 21);
    if (seeded_next(random) % 16)
        bits %= 12;
    return 1 + seeded_next(random) % (1ull << bits) % LARGEST_BYTES;
}

static void use(struct object *object, uint64_t *random) {
    if (!object->bytes)
        make(object, pick_size(random), random);
    else if (seeded_next(random) % 4 == 0)
        resize(object, pick_size(random), random);
    else
        destroy(object);
}

static bool take_slot(struct shared_slot *slot) {
    return !__atomic_exchange_n(&slot->locked, 1u, __ATOMIC_ACQUIRE);
}

static void leave_slot(struct shared_slot *slot) {
    __atomic_store_n(&slot->locked, 0u, __ATOMIC_RELEASE);
}

/* What a thread has and what lies in a shared slot change places, or the latter is used there. */
static void hand_over(struct object *own, uint64_t *random) {
    struct shared_slot *slot = &shared[seeded_next(random) % SHARED_SLOTS];
    if (!take_slot(slot))
        return;
    if (seeded_next(random) % 2) {
        struct object given = *own;
        *own = slot->object;
        slot->object = given;
    } else {
        use(&slot->object, random);
    }
    leave_slot(slot);
}

static void step(struct object *own, uint64_t *random) {
    struct object *object = &own[seeded_next(random) % OWN_SLOTS];
    uint64_t what = seeded_next(random) % 8;
    if (what < 5)
        use(object, random);
    else if (what < 7)
        hand_over(object, random);
    else if (object->bytes)
        check_object(object);
}

static void drop_all(struct object *own) {
    for (int at = 0; at < OWN_SLOTS; at++)
        if (own[at].bytes)
            destroy(&own[at]);
}

/* ---- forks ---- */

/* A child has a copy of everything. What its own thread had it may use; what lay in a shared slot
 * that nobody held is whole, too; what other threads had is nobody's, and stays. */
static void live_as_child(struct worker *worker) {
    disturbances = 0;
    for (int i = 0; i < OWN_SLOTS; i++)
        if (worker->own[i].bytes)
            check_object(&worker->own[i]);
    for (int i = 0; i < SHARED_SLOTS; i++)
        if (take_slot(&shared[i]) && shared[i].object.bytes)
            check_object(&shared[i].object);
    for (int i = 0; i < FORK_STEPS; i++)
        use(&worker->own[seeded_next(&worker->random) % OWN_SLOTS], &worker->random);
    drop_all(worker->own);
    _exit(0);
}

static void fork_once(struct worker *worker) {
    int status = 0;
    pid_t child = fork();
    if (child == 0)
        live_as_child(worker);
    while (child > 0 && waitpid(child, &status, 0) < 0)
        ;
    if (child > 0 && status != 0)
        contradicted("a forked child died", &worker->own[0]);
    if (child > 0)
        count(&children_ended);
}

/* ---- threads ---- */

static void note_signal(int number) {
    (void)number;
    count(&signals_seen);
}

static void start_timer(struct worker *worker) {
    struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGRTMIN};
    struct itimerspec often = {{0, TIMER_NS}, {0, TIMER_NS}};
    event._sigev_un._tid = worker->id;
    if (timer_create(CLOCK_MONOTONIC, &event, &worker->timer) != 0 ||
        timer_settime(worker->timer, 0, &often, NULL) != 0)
        abort();
}

static void *work(void *argument) {
    struct worker *worker = argument;
    __atomic_store_n(&worker->id, (pid_t)syscall(SYS_gettid), __ATOMIC_RELEASE);
    if (disturbances & SIGNALS)
        start_timer(worker);
    while (!stopped()) {
        step(worker->own, &worker->random);
        __atomic_store_n(&worker->steps, worker->steps + 1, __ATOMIC_RELAXED);
        if (disturbances & FORKS && worker->steps % FORK_EVERY == 0)
            fork_once(worker);
    }
    if (disturbances & SIGNALS)
        timer_delete(worker->timer);
    return NULL;
}

/* A short thread leaves what it made in shared slots, and frees what finds no place there. */
static void *live_shortly(void *argument) {
    uint64_t random = (uint64_t)(uintptr_t)argument;
    struct object own[OWN_SLOTS] = {0};
    for (int i = 0; i < SHORT_STEPS; i++)
        step(own, &random);
    for (int i = 0; i < OWN_SLOTS; i++) {
        struct shared_slot *slot = &shared[seeded_next(&random) % SHARED_SLOTS];
        if (!own[i].bytes || !take_slot(slot))
            continue;
        if (!slot->object.bytes) {
            slot->object = own[i];
            own[i].bytes = NULL;
        }
        leave_slot(slot);
    }
    drop_all(own);
    count(&threads_ended);
    return NULL;
}

/* ---- who disturbs ---- */

static struct worker *any_worker(uint64_t *random) {
    return &workers[seeded_next(random) % (uint64_t)worker_count];
}

static void send_signals(uint64_t *random) {
    pid_t id = __atomic_load_n(&any_worker(random)->id, __ATOMIC_ACQUIRE);
    if (id)
        syscall(SYS_tgkill, getpid(), id, SIGUSR1);
    pause_ns(20000);
}

/* One CPU for one thread, and soon another one. */
static void move_threads(uint64_t *random) {
    static cpu_set_t all;
    cpu_set_t one;
    if (CPU_COUNT(&all) == 0)
        sched_getaffinity(0, sizeof all, &all);
    int wanted = (int)(seeded_next(random) % (uint64_t)CPU_COUNT(&all));
    CPU_ZERO(&one);
    for (int i = 0; i < CPU_SETSIZE; i++)
        if (CPU_ISSET(i, &all) && wanted-- == 0)
            CPU_SET(i, &one);
    pid_t id = __atomic_load_n(&any_worker(random)->id, __ATOMIC_ACQUIRE);
    if (id && sched_setaffinity(id, sizeof one, &one) == 0)
        count(&moves_made);
}

static void run_short_threads(uint64_t *random) {
    pthread_t threads[4];
    int started = 0;
    for (; started < 4; started++)
        if (pthread_create(&threads[started], NULL, live_shortly,
                           (void *)(uintptr_t)(seeded_next(random) | 1)) != 0)
            break;
    for (int i = 0; i < started; i++)
        pthread_join(threads[i], NULL);
}

/* Rates from everything to nothing: objects are sampled, and forgotten, in the middle of it all. */
static void scrape(uint64_t *random) {
    static const uint64_t rates[] = {1, 4096, 524288, 0, 65536};
    struct mallard_memstats stats = {.size = sizeof stats};
    if (read_memstats && read_memstats(&stats) == 0 && stats.frees > stats.mallocs)
        contradicted("more frees than mallocs", &workers[0].own[0]);
    if (set_rate && seeded_next(random) % 16 == 0)
        set_rate(rates[seeded_next(random) % 5]);
    count(&scrapes_made);
    pause_ns(PATIENCE_NS);
}

static void press(uint64_t *random) {
    if (free_os_memory && seeded_next(random) % 2)
        free_os_memory();
    else
        malloc_trim(0);
    count(&releases_made);
    pause_ns(PATIENCE_NS);
}

/* Spans that are mostly free, growth that takes what lies free in them, and objects in the holes.
 */
static void hollow_out(uint64_t *random) {
    static struct object held[HOLLOW_OBJECTS];
    struct object large;
    for (int i = 0; i < HOLLOW_OBJECTS; i++)
        make(&held[i], 100 + seeded_next(random) % 2000, random);
    for (int i = 0; i < HOLLOW_OBJECTS; i++)
        if (i % 16)
            destroy(&held[i]);
    make(&large, HOLLOW_GROWTH_BYTES, random);
    destroy(&large);
    for (int i = 0; i < HOLLOW_OBJECTS; i++)
        if (!held[i].bytes)
            make(&held[i], 100 + seeded_next(random) % 2000, random);
    for (int i = 0; i < HOLLOW_OBJECTS; i++)
        destroy(&held[i]);
    count(&spans_hollowed);
}

static const struct disturber {
    enum disturbance disturbance;
    void (*act)(uint64_t *random);
} disturbers[] = {
    {SIGNALS, send_signals},    {AFFINITY, move_threads}, {EXITS, run_short_threads},
    {EXITS, run_short_threads}, {SCRAPES, scrape},        {PRESSURE, hollow_out},
    {PRESSURE, press},
};
enum { DISTURBERS = sizeof disturbers / sizeof *disturbers };

static void *disturb(void *argument) {
    const struct disturber *disturber = argument;
    uint64_t random = model_seed ^ (uint64_t)(disturber - disturbers + 1) << 32;
    while (!stopped())
        disturber->act(&random);
    return NULL;
}

/* ---- the run ---- */

static double seconds_now(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* Until the time is over; a worker that does not get on is a failure. */
static void watch(double seconds) {
    uint64_t seen[THREADS_MAX] = {0};
    double moved_at[THREADS_MAX];
    double end = seconds_now() + seconds;
    for (long i = 0; i < worker_count; i++)
        moved_at[i] = seconds_now();
    while (seconds_now() < end) {
        pause_ns(50000000);
        for (long i = 0; i < worker_count; i++) {
            uint64_t steps = __atomic_load_n(&workers[i].steps, __ATOMIC_RELAXED);
            if (steps != seen[i])
                moved_at[i] = seconds_now();
            else if (seconds_now() - moved_at[i] > STUCK_SECONDS)
                contradicted("a thread gets nowhere", &workers[i].own[0]);
            seen[i] = steps;
        }
    }
    __atomic_store_n(&stop, 1, __ATOMIC_RELEASE);
}

static uint64_t objects_now(void) {
    struct mallard_memstats stats = {.size = sizeof stats};
    return read_memstats && read_memstats(&stats) == 0 ? stats.heap_objects : 0;
}

static uint64_t clean_up(void) {
    uint64_t steps = 0;
    for (long i = 0; i < worker_count; i++) {
        pthread_join(workers[i].thread, NULL);
        steps += workers[i].steps;
        drop_all(workers[i].own);
    }
    for (int at = 0; at < SHARED_SLOTS; at++)
        if (shared[at].object.bytes)
            destroy(&shared[at].object);
    return steps;
}

static void start_workers(void) {
    for (long i = 0; i < worker_count; i++) {
        workers[i].random = model_seed * 1000 + (uint64_t)i;
        if (pthread_create(&workers[i].thread, NULL, work, &workers[i]) != 0)
            abort();
    }
}

static uint64_t run(double seconds) {
    pthread_t threads[DISTURBERS];
    start_workers();
    for (int i = 0; i < DISTURBERS; i++)
        if (disturbances & (unsigned)disturbers[i].disturbance &&
            pthread_create(&threads[i], NULL, disturb, (void *)&disturbers[i]) != 0)
            abort();
    watch(seconds);
    for (int i = 0; i < DISTURBERS; i++)
        if (disturbances & (unsigned)disturbers[i].disturbance)
            pthread_join(threads[i], NULL);
    return clean_up();
}

static const struct scene *find_scene(const char *name) {
    for (size_t i = 0; i < sizeof scenes / sizeof *scenes; i++)
        if (strcmp(scenes[i].name, name) == 0)
            return &scenes[i];
    return NULL;
}

static void find_api(void) {
    *(void **)&read_memstats = dlsym(RTLD_DEFAULT, "mallard_read_memstats");
    *(void **)&set_rate = dlsym(RTLD_DEFAULT, "mallard_set_mem_profile_rate");
    *(void **)&free_os_memory = dlsym(RTLD_DEFAULT, "mallard_free_os_memory");
}

int main(int argc, char **argv) {
    const struct scene *scene = argc == 5 ? find_scene(argv[1]) : NULL;
    if (!scene) {
        fprintf(stderr, "usage: torture SCENE SECONDS THREADS SEED\n");
        return 2;
    }
    worker_count = atol(argv[3]);
    worker_count = worker_count < 1 ? 1 : worker_count > THREADS_MAX ? THREADS_MAX : worker_count;
    disturbances = scene->disturbances;
    find_api();
    model_start(strtoull(argv[4], NULL, 0), scene->name);
    struct sigaction action = {.sa_handler = note_signal, .sa_flags = SA_RESTART};
    sigaction(SIGUSR1, &action, NULL);
    sigaction(SIGRTMIN, &action, NULL);
    uint64_t before = objects_now();
    uint64_t steps = run(atof(argv[2]));
    uint64_t left = objects_now();
    if (left > before + SLACK_OBJECTS || left + SLACK_OBJECTS < before) {
        printf("FAIL %s: %lu objects before, %lu are left; again: SEED=%lu\n", scene->name,
               (unsigned long)before, (unsigned long)left, (unsigned long)model_seed);
        return 1;
    }
    printf(
        "ok   %s: %lu steps, %lu signals, %lu moves, %lu children, %lu short threads, %lu scrapes, "
        "%lu releases, %lu times hollow, %ld objects more than before\n",
        scene->name, (unsigned long)steps, (unsigned long)signals_seen, (unsigned long)moves_made,
        (unsigned long)children_ended, (unsigned long)threads_ended, (unsigned long)scrapes_made,
        (unsigned long)releases_made, (unsigned long)spans_hollowed, (long)(left - before));
    return 0;
}
