/* SPDX-License-Identifier: Apache-2.0
 *
 * Mutators that are as hard on the collector as they can be, and know what must be alive.
 *
 * Every object carries a seed and its check; every object that leads to others carries the seeds
 * that must be found there. Walking a tree therefore proves that none of it was freed, reused or
 * zeroed meanwhile. Threads take turns between
 *
 *     swap     two random subtrees change places: what was reachable one way is so another way
 *     splice   n->left = x->right; x->right = n, and n is never touched again: what is reachable
 *              only through an object that was allocated while marking went on
 *     hand     whole trees pass between threads through global variables and thread-local ones
 *     resize   a flexible array grows, is copied by memcpy, and shrinks
 *     malloc   the other heap beside it, with its own contents checked
 *     walk     checks a tree
 *
 * Swaps write to all pages again and again, so that a page that was watched too late is found
 * written all the same; splices alone write to each once. So each of the two can be had without the
 * other.
 *
 * Options, from the environment: GC_TORTURE_SECONDS, _THREADS, _SEED, _MIB (of live heap),
 * _MUTATOR=swap or append (without the other; else both), _FORKS=1 (forks now and then, the child
 * checks everything and collects).
 * Prints the seed; "FAIL ..." and exit 1 on the first difference.
 */
#include "mallard/gc.h"
#include "mallard/mallard.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define THREADS_MAX 64
#define TREES 32
#define SHARED 64

struct node {
    struct node *left, *right;
    uint64_t seed, check;
    uint64_t left_seed, right_seed; /* 0: nothing there */
    uint64_t *payload;              /* noscan, payload_words of mix(seed + i) */
    uint64_t payload_words;
};
MALLARD_GC_TYPE(node_type, struct node, left, right, payload);

struct item {
    struct node *tree;
    uint64_t seed;
};
struct list {
    uint64_t count;
    struct item item[];
};
MALLARD_GC_TYPE_FLEX(list_type, struct list, (), item, struct item, tree);

struct shared {
    _Atomic(uint32_t) busy;
    struct node *tree; /* in .bss: a root */
    uint64_t seed;
};
static struct shared shared[SHARED];

static __thread struct node *in_tls;
static __thread uint64_t in_tls_seed;

static uint64_t run_seed;
static uint64_t nodes_most;
static _Atomic(int) stop_now;
static _Atomic(uint64_t) swaps, splices, walks, walked, rebuilt, handed, resized;

static uint64_t mix(uint64_t x) {
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

static uint64_t next(uint64_t *state) {
    return mix((*state)++);
}

static void fail(const char *what, const void *object, uint64_t expected, uint64_t found) {
    char line[256];
    int bytes = snprintf(line, sizeof line,
                         "FAIL %s: object %p, expected %016llx, found %016llx, seed %llu\n", what,
                         object, (unsigned long long)expected, (unsigned long long)found,
                         (unsigned long long)run_seed);
    if (write(1, line, (size_t)bytes) < 0)
        _exit(3);
    abort();
}

/* ---- objects ---- */

static struct node *new_node(uint64_t seed) {
    struct node *node = seed % 16 == 0 ? mallard_gc_alloc(sizeof *node + seed / 16 % 512, NULL)
                                       : mallard_gc_new(&node_type);
    if (!node)
        fail("out of memory", NULL, 0, 0);
    if (node->left || node->right || node->seed || node->payload)
        fail("fresh object is not zero", node, 0, node->seed);
    node->seed = seed;
    node->check = mix(seed);
    return node;
}

static void add_payload(struct node *node, uint64_t random) {
    uint64_t words = random % 100 == 0 ? 1 + random / 128 % 20000 : 1 + random / 128 % 12;
    uint64_t *payload = mallard_gc_alloc_noscan(words * 8);
    if (!payload)
        fail("out of memory", NULL, 0, 0);
    for (uint64_t i = 0; i < words; i += 1 + words / 16)
        payload[i] = mix(node->seed + i);
    node->payload_words = words;
    node->payload = payload;
}

static void check_node(const struct node *node, uint64_t seed) {
    if (node->seed != seed || node->check != mix(seed))
        fail("lost", node, seed, node->seed);
    if (!node->left != !node->left_seed || !node->right != !node->right_seed)
        fail("lost pointer", node, node->left_seed, node->right_seed);
    if (!node->payload)
        return;
    for (uint64_t i = 0; i < node->payload_words; i += 1 + node->payload_words / 16)
        if (node->payload[i] != mix(seed + i))
            fail("lost payload", node->payload, mix(seed + i), node->payload[i]);
}

static struct node *build(uint64_t *random, unsigned depth) {
    struct node *node = new_node(next(random) | 1);
    if (next(random) % 4 == 0)
        add_payload(node, next(random));
    if (depth == 0)
        return node;
    node->left = build(random, depth - 1);
    node->left_seed = node->left->seed;
    node->right = build(random, depth - 1);
    node->right_seed = node->right->seed;
    return node;
}

static __thread const struct node **stack;
static __thread size_t room; /* on it */

/* Depth first with the way back on an explicit stack in malloc's heap: what is on it is reachable
 * through the tree. Returns how many nodes there are. */
static uint64_t walk(const struct node *root, uint64_t seed) {
    size_t depth = 0;
    uint64_t count = 0;
    if (!root)
        return 0;
    check_node(root, seed);
    if (!stack)
        stack = malloc((room = 1024) * sizeof *stack);
    stack[depth++] = root;
    while (depth > 0) {
        const struct node *node = stack[--depth];
        count++;
        if (depth + 2 > room)
            stack = realloc(stack, (room *= 2) * sizeof *stack);
        if (node->left) {
            check_node(node->left, node->left_seed);
            stack[depth++] = node->left;
        }
        if (node->right) {
            check_node(node->right, node->right_seed);
            stack[depth++] = node->right;
        }
    }
    atomic_fetch_add(&walks, 1);
    atomic_fetch_add(&walked, count);
    return count;
}

/* ---- what a thread does ---- */

struct mutator {
    uint64_t random;
    struct list *trees;    /* on the thread's stack only */
    uint64_t count[TREES]; /* nodes at most */
    void *block[256];      /* malloc's */
    size_t block_bytes[256];
};

static unsigned tree_depth(uint64_t *random) {
    uint64_t per_tree = nodes_most / TREES;
    unsigned depth = 1;
    while ((2ull << (depth + 1)) < per_tree && depth < 22)
        depth++;
    return depth - (unsigned)(next(random) % 2);
}

static void rebuild(struct mutator *m, unsigned i) {
    unsigned depth = tree_depth(&m->random);
    m->trees->item[i].tree = NULL;
    struct node *tree = build(&m->random, depth);
    m->trees->item[i].seed = tree->seed;
    m->trees->item[i].tree = tree;
    m->count[i] = 2ull << depth;
    atomic_fetch_add(&rebuilt, 1);
}

static struct node *somewhere(struct mutator *m, unsigned i) {
    struct node *node = m->trees->item[i].tree;
    if (!node)
        return NULL;
    for (uint64_t bits = next(&m->random), steps = bits % 24; steps > 0; steps--, bits >>= 1) {
        struct node *child = bits & 0x100 ? node->right : node->left;
        if (!child)
            break;
        node = child;
    }
    return node;
}

/* Of different trees, so that nothing becomes its own ancestor. */
static void swap(struct mutator *m) {
    unsigned i = (unsigned)(next(&m->random) % TREES);
    unsigned j = (unsigned)(next(&m->random) % TREES);
    struct node *a = somewhere(m, i);
    struct node *b = somewhere(m, j);
    if (i == j || !a || !b)
        return;
    struct node *subtree = a->left;
    uint64_t seed = a->left_seed;
    a->left = b->right;
    a->left_seed = b->right_seed;
    b->right = subtree;
    b->right_seed = seed;
    uint64_t both = m->count[i] + m->count[j];
    m->count[i] = m->count[j] = both;
    atomic_fetch_add(&swaps, 1);
}

static void splice(struct mutator *m) {
    unsigned i = (unsigned)(next(&m->random) % TREES);
    struct node *x = somewhere(m, i);
    if (!x)
        return;
    struct node *n = new_node(next(&m->random) | 1);
    n->left_seed = x->right_seed;
    n->left = x->right;
    x->right_seed = n->seed;
    x->right = n;
    m->count[i]++;
    atomic_fetch_add(&splices, 1);
}

static void hand(struct mutator *m) {
    unsigned i = (unsigned)(next(&m->random) % TREES);
    struct shared *slot = &shared[next(&m->random) % SHARED];
    if (atomic_exchange(&slot->busy, 1))
        return;
    struct item mine = m->trees->item[i];
    m->trees->item[i] = (struct item){slot->tree, slot->seed};
    slot->tree = in_tls;
    slot->seed = in_tls_seed;
    atomic_store(&slot->busy, 0);
    in_tls = mine.tree;
    in_tls_seed = mine.seed;
    m->count[i] = walk(m->trees->item[i].tree, m->trees->item[i].seed);
    atomic_fetch_add(&handed, 1);
}

static void resize(struct mutator *m) {
    size_t count = TREES + next(&m->random) % 3000;
    struct list *other = mallard_gc_new_flex(&list_type, count);
    if (!other)
        fail("out of memory", NULL, 0, 0);
    memcpy(other, m->trees, sizeof *other + TREES * sizeof other->item[0]);
    m->trees = mallard_gc_resize_flex(other, &list_type, TREES + next(&m->random) % 100);
    if (!m->trees)
        fail("out of memory", NULL, 0, 0);
    atomic_fetch_add(&resized, 1);
}

static void use_malloc(struct mutator *m) {
    unsigned i = (unsigned)(next(&m->random) % 256);
    unsigned char *block = m->block[i];
    for (size_t k = 0; k < m->block_bytes[i]; k += 61)
        if (block[k] != (unsigned char)(i + k))
            fail("malloc block", block, (unsigned char)(i + k), block[k]);
    free(block);
    m->block_bytes[i] = 1 + next(&m->random) % (next(&m->random) % 64 == 0 ? 200000 : 900);
    m->block[i] = block = malloc(m->block_bytes[i]);
    for (size_t k = 0; k < m->block_bytes[i]; k += 61)
        block[k] = (unsigned char)(i + k);
}

/* Swaps allocate nothing: without splices it is this that makes cycles. */
static void drop_one(struct mutator *m) {
    if (!mallard_gc_alloc_noscan(16 + next(&m->random) % 200))
        fail("out of memory", NULL, 0, 0);
}

static void swap_and_drop(struct mutator *m) {
    swap(m);
    drop_one(m);
}

enum mutators { BOTH, SWAP, APPEND };
static void (*const mutators[][2])(struct mutator *) = {
    [BOTH] = {swap, splice}, [SWAP] = {swap, swap_and_drop}, [APPEND] = {splice, splice}};
static enum mutators chosen;

static void step(struct mutator *m) {
    switch (next(&m->random) % 64) {
    case 0 ... 27:
        mutators[chosen][0](m);
        break;
    case 28 ... 55:
        mutators[chosen][1](m);
        break;
    case 56 ... 61:
        use_malloc(m);
        break;
    case 62:
        if (next(&m->random) % 8 == 0)
            resize(m);
        break;
    default:
        if (next(&m->random) % 64 == 0)
            hand(m);
        break;
    }
}

static void look_after(struct mutator *m) {
    unsigned i = (unsigned)(next(&m->random) % TREES);
    uint64_t count = walk(m->trees->item[i].tree, m->trees->item[i].seed);
    m->count[i] = count;
    if (count == 0 || count > 2 * nodes_most / TREES)
        rebuild(m, i);
}

static void check_all(struct mutator *m) {
    for (unsigned i = 0; i < TREES; i++)
        walk(m->trees->item[i].tree, m->trees->item[i].seed);
    walk(in_tls, in_tls_seed);
}

/* Not inlined: what it leaves in its caller's frame is all there is. */
static void __attribute__((noinline)) fork_once(struct mutator *m) {
    pid_t child = fork();
    if (child == 0) {
        alarm(60);
        check_all(m);
        for (int i = 0; i < 2000; i++)
            step(m);
        mallard_gc_collect();
        check_all(m);
        _exit(0);
    }
    int status = 0;
    if (child > 0 && (waitpid(child, &status, 0) != child || status != 0))
        fail("forked child", NULL, 0, (uint64_t)status);
}

static uint64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static unsigned number(const char *name, unsigned otherwise) {
    const char *text = getenv(name);
    return text ? (unsigned)strtoul(text, NULL, 10) : otherwise;
}

static enum mutators mutators_wanted(void) {
    const char *text = getenv("GC_TORTURE_MUTATOR");
    if (!text || strcmp(text, "both") == 0)
        return BOTH;
    if (strcmp(text, "swap") != 0 && strcmp(text, "append") != 0)
        fail("GC_TORTURE_MUTATOR is none of swap, append, both", NULL, 0, 0);
    return strcmp(text, "swap") == 0 ? SWAP : APPEND;
}

static void *mutate(void *argument) {
    struct mutator m = {.random = mix(run_seed + (uintptr_t)argument)};
    uint64_t end_ns = now_ns() + (uint64_t)(1 + next(&m.random) % 4) * 1000000000u;
    int forks = (int)number("GC_TORTURE_FORKS", 0) && (uintptr_t)argument == 0;
    m.trees = mallard_gc_new_flex(&list_type, TREES);
    for (unsigned i = 0; i < TREES; i++)
        rebuild(&m, i);
    while (!atomic_load(&stop_now) && now_ns() < end_ns) {
        for (int i = 0; i < 3000; i++)
            step(&m);
        look_after(&m);
        if (forks && next(&m.random) % 16 == 0)
            fork_once(&m);
    }
    check_all(&m);
    for (unsigned i = 0; i < 256; i++)
        free(m.block[i]);
    free(stack);
    in_tls = NULL;
    return NULL;
}

/* Threads live for some seconds and are followed by others. */
static void run(unsigned threads, uint64_t end_ns) {
    pthread_t thread[THREADS_MAX];
    for (uintptr_t i = 0; i < threads; i++)
        if (pthread_create(&thread[i], NULL, mutate, (void *)i) != 0)
            fail("pthread_create", NULL, 0, 0);
    for (uintptr_t next_number = threads; now_ns() < end_ns; next_number++) {
        uintptr_t i = next_number % threads;
        pthread_join(thread[i], NULL);
        if (pthread_create(&thread[i], NULL, mutate, (void *)(i == 0 ? 0 : next_number)) != 0)
            fail("pthread_create", NULL, 0, 0);
    }
    atomic_store(&stop_now, 1);
    for (unsigned i = 0; i < threads; i++)
        pthread_join(thread[i], NULL);
}

int main(void) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    run_seed = number("GC_TORTURE_SEED", (unsigned)(now.tv_nsec ^ now.tv_sec));
    unsigned threads = number("GC_TORTURE_THREADS", 3);
    unsigned seconds = number("GC_TORTURE_SECONDS", 15);
    chosen = mutators_wanted();
    threads = threads < 1 ? 1 : threads > THREADS_MAX ? THREADS_MAX : threads;
    nodes_most = ((uint64_t)number("GC_TORTURE_MIB", 64) << 20) / threads / sizeof(struct node) / 2;
    printf("seed %llu, %u threads, %u s, %s\n", (unsigned long long)run_seed, threads, seconds,
           (const char *const[]){"both", "swap", "append"}[chosen]);
    fflush(stdout);
    run(threads, now_ns() + (uint64_t)seconds * 1000000000u);
    struct mallard_gc_stats stats = {.size = sizeof stats};
    mallard_gc_read_stats(&stats);
    printf("ok   gc torture: %llu cycles, %llu swaps, %llu splices, %llu trees built, %llu handed, "
           "%llu resized, %llu walks over %llu nodes, mean pause %llu us\n",
           (unsigned long long)stats.num_gc, (unsigned long long)swaps, (unsigned long long)splices,
           (unsigned long long)rebuilt, (unsigned long long)handed, (unsigned long long)resized,
           (unsigned long long)walks, (unsigned long long)walked,
           (unsigned long long)stats.pause_total_ns / 1000 / (stats.num_gc ? stats.num_gc : 1));
    printf("1 passed, 0 failed\n");
    return 0;
}
