/* SPDX-License-Identifier: Apache-2.0
 *
 * io_uring reads into collected buffers: the kernel writes them while nobody runs, on threads of
 * its own that no stop reaches, between a call and a completion that may lie cycles apart. Raw
 * system calls, one process each, under every way of marking.
 *
 *     gc_uring            all of them, or a sentence why the kernel will not
 *     gc_uring NAME       this one, in this process
 */
#include "../support/program.h"
#include "mallard/gc.h"

#include <errno.h>
#include <linux/io_uring.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#define DEADLINE_SECONDS 120
#define ENTRIES 64u
#define REFUSED 77

#define REQUIRE(condition)                                                                         \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, #condition, strerror(errno));   \
            _exit(1);                                                                              \
        }                                                                                          \
    } while (0)

/* ---- a ring ---- */

struct ring {
    int descriptor;
    struct io_uring_params params;
    char *submission, *completion; /* as the kernel shares them */
    struct io_uring_sqe *entry;
    unsigned prepared;
};

static unsigned *word_at(char *base, unsigned offset) {
    return (unsigned *)(void *)(base + offset);
}

static void *share(const struct ring *ring, size_t bytes, uint64_t what) {
    void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE,
                    ring->descriptor, (off_t)what);
    REQUIRE(at != MAP_FAILED);
    return at;
}

static bool ring_open(struct ring *ring) {
    *ring = (struct ring){.descriptor = -1};
    ring->descriptor = (int)syscall(SYS_io_uring_setup, ENTRIES, &ring->params);
    if (ring->descriptor < 0)
        return false;
    const struct io_uring_params *p = &ring->params;
    ring->submission =
        share(ring, p->sq_off.array + p->sq_entries * sizeof(unsigned), IORING_OFF_SQ_RING);
    ring->completion = share(ring, p->cq_off.cqes + p->cq_entries * sizeof(struct io_uring_cqe),
                             IORING_OFF_CQ_RING);
    ring->entry = share(ring, p->sq_entries * sizeof *ring->entry, IORING_OFF_SQES);
    return true;
}

/* At most ENTRIES before the next ring_enter. */
static void ring_prepare(struct ring *ring, const struct io_uring_sqe *wanted) {
    unsigned *tail = word_at(ring->submission, ring->params.sq_off.tail);
    unsigned slot = *tail & *word_at(ring->submission, ring->params.sq_off.ring_mask);
    ring->entry[slot] = *wanted;
    word_at(ring->submission, ring->params.sq_off.array)[slot] = slot;
    __atomic_store_n(tail, *tail + 1, __ATOMIC_RELEASE);
    ring->prepared++;
}

/* Without libmallard-gc.so a stop may interrupt the wait. */
static void ring_enter(struct ring *ring, unsigned wait_for) {
    long done;
    do
        done = syscall(SYS_io_uring_enter, ring->descriptor, ring->prepared, wait_for,
                       wait_for ? IORING_ENTER_GETEVENTS : 0, NULL, 0);
    while (done < 0 && errno == EINTR);
    REQUIRE(done == (long)ring->prepared || ring->prepared == 0);
    ring->prepared = 0;
}

/* Waits for one completion and returns whose it is. */
static uint64_t ring_take(struct ring *ring, int expected_result) {
    unsigned *head = word_at(ring->completion, ring->params.cq_off.head);
    const unsigned *tail = word_at(ring->completion, ring->params.cq_off.tail);
    while (*head == __atomic_load_n(tail, __ATOMIC_ACQUIRE))
        ring_enter(ring, 1);
    unsigned mask = *word_at(ring->completion, ring->params.cq_off.ring_mask);
    const struct io_uring_cqe *all = (const void *)(ring->completion + ring->params.cq_off.cqes);
    struct io_uring_cqe one = all[*head & mask];
    __atomic_store_n(head, *head + 1, __ATOMIC_RELEASE);
    errno = one.res < 0 ? -one.res : 0;
    REQUIRE(one.res == expected_result);
    return one.user_data;
}

/* The kernel's own threads do what is asynchronous; else the thread that comes by next. */
static struct io_uring_sqe reading(int from, void *to, size_t bytes, uint64_t number) {
    return (struct io_uring_sqe){.opcode = IORING_OP_READ,
                                 .flags = number % 2 ? IOSQE_ASYNC : 0,
                                 .fd = from,
                                 .off = UINT64_MAX,
                                 .addr = (uintptr_t)to,
                                 .len = (unsigned)bytes,
                                 .user_data = number};
}

static struct ring ring;
static int ends[2];

static void set_up(void) {
    if (!ring_open(&ring)) {
        printf("io_uring_setup: %s\n", strerror(errno));
        exit(REFUSED);
    }
    REQUIRE(pipe(ends) == 0);
}

/* ---- meanwhile ---- */

static _Atomic(int) ended;

static void *collect_for_ever(void *unused) {
    (void)unused;
    while (!atomic_load(&ended))
        mallard_gc_collect();
    return NULL;
}

static void with_collector(void (*body)(void)) {
    pthread_t thread;
    REQUIRE(pthread_create(&thread, NULL, collect_for_ever, NULL) == 0);
    body();
    atomic_store(&ended, 1);
    pthread_join(thread, NULL);
}

/* What was freed has other contents afterwards. */
static void collect_and_reuse(size_t bytes) {
    for (int i = 0; i < 2; i++) {
        mallard_gc_collect();
        for (size_t k = 0; k < (4u << 20); k += bytes)
            memset(not_null(mallard_gc_alloc_noscan(bytes)), 0xee, bytes);
    }
}

/* ---- bytes ---- */

static unsigned char byte_of(uint64_t number, size_t at) {
    return (unsigned char)(number * 131 + at * 7 + (at >> 8));
}

static void send(uint64_t number, size_t bytes) {
    static unsigned char text[16384];
    for (size_t i = 0; i < bytes; i++)
        text[i] = byte_of(number, i);
    REQUIRE(write(ends[1], text, bytes) == (ssize_t)bytes);
}

struct table {
    unsigned char *buffer[ENTRIES];
};
MALLARD_GC_TYPE(table_type, struct table, buffer);

static struct table *new_table(size_t bytes) {
    struct table *table = not_null(mallard_gc_new(&table_type));
    for (unsigned i = 0; i < ENTRIES; i++)
        table->buffer[i] = not_null(mallard_gc_alloc_noscan(bytes));
    return table;
}

static void check_bytes(const struct table *table, const uint64_t *number_in, size_t bytes) {
    for (unsigned i = 0; i < ENTRIES; i++)
        for (size_t k = 0; k < bytes; k++)
            REQUIRE(table->buffer[i][k] == byte_of(number_in[i], k));
}

/* Reads wait for bytes through cycles; who gets which is the kernel's choice, so what is in a
 * buffer tells its number by its first byte. */
static void read_round(size_t bytes) {
    struct table *table = new_table(bytes);
    uint64_t number_in[ENTRIES];
    for (unsigned i = 0; i < ENTRIES; i++) {
        struct io_uring_sqe sqe = reading(ends[0], table->buffer[i], bytes, i);
        ring_prepare(&ring, &sqe);
    }
    ring_enter(&ring, 0);
    collect_and_reuse(bytes);
    for (unsigned i = 0; i < ENTRIES; i++) {
        send(i, bytes);
        uint64_t slot = ring_take(&ring, (int)bytes);
        REQUIRE(slot < ENTRIES);
        number_in[slot] = i;
    }
    check_bytes(table, number_in, bytes);
    collect_and_reuse(bytes);
    check_bytes(table, number_in, bytes);
}

static void read_bytes(void) {
    static const size_t sizes[] = {16, 48, 512, 4096};
    for (int round = 0; round < 4; round++)
        for (unsigned i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
            read_round(sizes[i]);
}

static void waiting_reads(void) {
    read_bytes();
}

static void reads_while_collecting(void) {
    with_collector(read_bytes);
}

/* ---- pointers ---- */

struct cell {
    uint64_t number, check;
};
MALLARD_GC_TYPE_NOSCAN(cell_type, struct cell);

struct slots {
    struct cell *slot[512];
};
MALLARD_GC_TYPE(slots_type, struct slots, slot);

static struct slots *new_slots(void) {
    return not_null(mallard_gc_new(&slots_type));
}

static void fill(struct slots *slots) {
    for (uint64_t i = 0; i < 512; i++) {
        slots->slot[i] = not_null(mallard_gc_new(&cell_type));
        *slots->slot[i] = (struct cell){i, ~i * 0x9E3779B97F4A7C15u};
    }
}

static void check_slots(const struct slots *slots) {
    for (uint64_t i = 0; i < 512; i++)
        REQUIRE(slots->slot[i]->number == i && slots->slot[i]->check == ~i * 0x9E3779B97F4A7C15u);
}

static void make_garbage(void) {
    for (unsigned i = 0; i < 500; i++)
        *(struct cell *)not_null(mallard_gc_new(&cell_type)) = (struct cell){~0u, 0};
}

/* The read waits already when the pointers come, and the old object forgets them once they have. */
static struct slots *move(struct slots *from, const struct io_uring_sqe *sqe, struct slots *to) {
    ring_prepare(&ring, sqe);
    ring_enter(&ring, 0);
    REQUIRE(write(ends[1], from, sizeof *from) == sizeof *from);
    REQUIRE(ring_take(&ring, sizeof *from) == sqe->user_data);
    memset(from, 0, sizeof *from);
    make_garbage();
    return to;
}

static void move_pointers(void) {
    struct slots *from = new_slots();
    fill(from);
    for (unsigned i = 0; i < 3000; i++) {
        struct slots *to = new_slots();
        struct io_uring_sqe sqe = reading(ends[0], to, sizeof *to, i);
        from = move(from, &sqe, to);
        if (i % 100 == 0)
            check_slots(from);
    }
    check_slots(from);
}

static void pointers_while_collecting(void) {
    with_collector(move_pointers);
}

/* ---- registered buffers: their pages are the kernel's from then on ---- */

static struct io_uring_sqe reading_fixed(void *to, size_t bytes, unsigned index) {
    struct io_uring_sqe sqe = reading(ends[0], to, bytes, index);
    sqe.opcode = IORING_OP_READ_FIXED;
    sqe.buf_index = (uint16_t)index;
    return sqe;
}

static void register_buffers(const struct iovec *buffers, unsigned count) {
    if (syscall(SYS_io_uring_register, ring.descriptor, IORING_REGISTER_BUFFERS, buffers, count) ==
        0)
        return;
    printf("IORING_REGISTER_BUFFERS: %s\n", strerror(errno));
    exit(REFUSED);
}

static void read_registered(void) {
    enum { BYTES = 4096 };
    struct table *table = new_table(BYTES);
    struct iovec buffers[ENTRIES];
    uint64_t number_in[ENTRIES];
    for (unsigned i = 0; i < ENTRIES; i++)
        buffers[i] = (struct iovec){table->buffer[i], BYTES};
    register_buffers(buffers, ENTRIES);
    for (unsigned round = 0; round < 200; round++) {
        for (unsigned i = 0; i < ENTRIES; i++) {
            struct io_uring_sqe sqe = reading_fixed(table->buffer[i], BYTES, i);
            ring_prepare(&ring, &sqe);
        }
        ring_enter(&ring, 0);
        for (unsigned i = 0; i < ENTRIES; i++) {
            send(round + i, BYTES);
            number_in[ring_take(&ring, BYTES)] = round + i;
        }
        check_bytes(table, number_in, BYTES);
    }
    collect_and_reuse(BYTES);
    check_bytes(table, number_in, BYTES);
}

static void registered_while_collecting(void) {
    with_collector(read_registered);
}

/* ---- all of them ---- */

static const struct test {
    const char *name;
    void (*run)(void);
} tests[] = {
    {"reads that wait", waiting_reads},
    {"reads while collecting", reads_while_collecting},
    {"pointers while collecting", pointers_while_collecting},
    {"registered buffers", registered_while_collecting},
};
#define COUNT (sizeof tests / sizeof tests[0])

static unsigned passed, failed;

static void run_in_child(const struct test *test, const char *debug) {
    int status = -1;
    pid_t child = fork();
    if (child == 0) {
        setenv("MALLARD_DEBUG", debug, 1);
        alarm(DEADLINE_SECONDS);
        execl("/proc/self/exe", "gc_uring", test->name, (char *)NULL);
        _exit(5);
    }
    bool good = waitpid(child, &status, 0) == child && status == 0;
    bool refused = WIFEXITED(status) && WEXITSTATUS(status) == REFUSED;
    printf("%s %s (%s)\n", good ? "ok  " : refused ? "skip" : "FAIL", test->name, debug);
    if (!good && !refused)
        printf("     %s %d\n", WIFSIGNALED(status) ? "signal" : "exit",
               WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
    fflush(stdout);
    passed += good;
    failed += !good && !refused;
}

static int run_named(const char *name) {
    for (size_t i = 0; i < COUNT; i++)
        if (strcmp(tests[i].name, name) == 0) {
            set_up();
            tests[i].run();
            return 0;
        }
    return 2;
}

int main(int arguments, char **argument) {
    static const char *const ways[] = {"gccheckmark=1,gcdirty=uffd", "gccheckmark=1,gcdirty=none"};
    if (arguments > 1)
        return run_named(argument[1]);
    for (size_t way = 0; way < sizeof ways / sizeof ways[0]; way++)
        for (size_t i = 0; i < COUNT; i++)
            run_in_child(&tests[i], ways[way]);
    printf("%u passed, %u failed\n", passed, failed);
    return failed > 0;
}
