/* SPDX-License-Identifier: Apache-2.0
 *
 * Each pointer here lies in one place only; the world is stopped, and the ranges of roots must show
 * it.
 *
 * A pointer is a secret number. The thread that holds it makes it from two halves, so that it lies
 * nowhere else; the judge makes it again only to compare.
 */
#include "gc_world.h"
#include "mallard/mallard.h"

#include <dlfcn.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <ucontext.h>

#define KEY 0x5a5a1234a5a50000ull
static uint64_t locked[16]; /* secrets ^ KEY */
static uint32_t ready, finish;

struct search {
    unsigned number;
    unsigned found[4]; /* by enum mal_gc_root_kind */
};

static void look_for(uintptr_t low, uintptr_t high, enum mal_gc_root_kind kind, void *context) {
    struct search *search = context;
    for (; low + sizeof(uintptr_t) <= high; low += sizeof(uintptr_t))
        search->found[kind] += (*(volatile uintptr_t *)low ^ KEY) == locked[search->number];
}

static void look_in_threads(void *search) {
    mal_gc_world_each_stack(look_for, search);
}
static void look_elsewhere(void *search) {
    mal_gc_world_each_segment(look_for, search);
    mal_gc_world_each_explicit(look_for, search);
}

static unsigned find(unsigned number, void (*where)(void *)) {
    struct search search = {.number = number};
    stop_once(where, &search);
    return search.found[0] + search.found[1] + search.found[2] + search.found[3];
}

static pthread_t hold(void *(*body)(void *), unsigned number) {
    pthread_t thread;
    mal_store_release(&ready, 0u);
    mal_store_release(&finish, 0u);
    must(pthread_create(&thread, NULL, body, (void *)(uintptr_t)number) == 0, "pthread_create");
    while (!mal_load_acquire(&ready))
        sched_yield();
    return thread;
}

static void test_holder(void *(*body)(void *), unsigned number, const char *what) {
    pthread_t thread = hold(body, number);
    usleep(20000);
    unsigned found = find(number, look_in_threads);
    mal_store_release(&finish, 1u);
    pthread_join(thread, NULL);
    stop_once(nothing, NULL);
    judge(found > 0, what);
}

#ifdef __x86_64__
static void *in_register(void *number) {
    uint64_t *place = &locked[(uintptr_t)number];
    __asm__ volatile("movq (%0), %%r12\n\t"
                     "xorq %1, %%r12\n\t"
                     "movl $1, %2\n"
                     "1: pause\n\t"
                     "cmpl $0, %3\n\t"
                     "je 1b\n\t"
                     "xorq %%r12, %%r12"
                     :
                     : "r"(place), "r"(KEY), "m"(ready), "m"(finish)
                     : "r12", "memory", "cc");
    return NULL;
}
static void *in_vector(void *number) {
    uint64_t *place = &locked[(uintptr_t)number];
    __asm__ volatile("movq (%0), %%r12\n\t"
                     "xorq %1, %%r12\n\t"
                     "movq %%r12, %%xmm11\n\t"
                     "xorq %%r12, %%r12\n\t"
                     "movl $1, %2\n"
                     "1: pause\n\t"
                     "cmpl $0, %3\n\t"
                     "je 1b\n\t"
                     "pxor %%xmm11, %%xmm11"
                     :
                     : "r"(place), "r"(KEY), "m"(ready), "m"(finish)
                     : "r12", "xmm11", "memory", "cc");
    return NULL;
}
/* Below the stack pointer, in the red zone. */
static void *in_red_zone(void *number) {
    uint64_t *place = &locked[(uintptr_t)number];
    __asm__ volatile("movq (%0), %%r12\n\t"
                     "xorq %1, %%r12\n\t"
                     "movq %%r12, -120(%%rsp)\n\t"
                     "xorq %%r12, %%r12\n\t"
                     "movl $1, %2\n"
                     "1: pause\n\t"
                     "cmpl $0, %3\n\t"
                     "je 1b\n\t"
                     "movq %%r12, -120(%%rsp)"
                     :
                     : "r"(place), "r"(KEY), "m"(ready), "m"(finish)
                     : "r12", "memory", "cc");
    return NULL;
}
/* A callee-saved register across a blocking call. */
static void wait_blocked(void) {
    mal_store_release(&ready, 1u);
    while (!mal_load_acquire(&finish))
        poll(NULL, 0, 20);
}
static void (*volatile wait_blocked_pointer)(void) = wait_blocked;
static void *in_blocked_register(void *number) {
    uint64_t *place = &locked[(uintptr_t)number];
    __asm__ volatile("movq (%0), %%r12\n\t"
                     "xorq %1, %%r12\n\t"
                     "movq %%rsp, %%rbx\n\t"
                     "andq $-16, %%rsp\n\t"
                     "subq $256, %%rsp\n\t"
                     "call *%2\n\t"
                     "movq %%rbx, %%rsp\n\t"
                     "xorq %%r12, %%r12"
                     :
                     : "r"(place), "r"(KEY), "r"(wait_blocked_pointer)
                     : "rax", "rbx", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12",
                       "memory", "cc");
    return NULL;
}
#endif

static void spin(void) {
    mal_store_release(&ready, 1u);
    while (!mal_load_acquire(&finish))
        mal_cpu_relax();
}

static __thread volatile uint64_t thread_word;
static void *in_thread_variable(void *number) {
    thread_word = locked[(uintptr_t)number] ^ KEY;
    spin();
    thread_word = 0;
    return NULL;
}

static char library[PATH_MAX];
static uint64_t *library_word(void) {
    uint64_t *(*word)(void);
    void *handle = dlopen(library, RTLD_NOW | RTLD_LOCAL);
    must(handle != NULL, "dlopen");
    *(void **)&word = dlsym(handle, "gc_tls_word");
    return word();
}
static void *in_library_variable(void *number) {
    uint64_t *word = library_word();
    *word = locked[(uintptr_t)number] ^ KEY;
    spin();
    *word = 0;
    return NULL;
}

/* On the home stack of a thread that is stopped on its signal stack. */
static void on_signal_stack(int number) {
    (void)number;
    spin();
}
static void *below_signal_stack(void *number) {
    static char area[65536];
    stack_t stack = {.ss_sp = area, .ss_size = sizeof area};
    struct sigaction action = {.sa_handler = on_signal_stack, .sa_flags = SA_ONSTACK};
    volatile uint64_t word = locked[(uintptr_t)number] ^ KEY;
    sigaltstack(&stack, NULL);
    sigaction(SIGUSR1, &action, NULL);
    pthread_kill(pthread_self(), SIGUSR1);
    word = word + 1;
    stack.ss_flags = SS_DISABLE;
    sigaltstack(&stack, NULL);
    return NULL;
}

/* On a coroutine's stack that nobody registered, while it runs. */
static __thread ucontext_t home, coroutine;
static __thread unsigned coroutine_number;
static void run_coroutine(void) {
    volatile uint64_t word = locked[coroutine_number] ^ KEY;
    spin();
    word = word + 1;
}
static void run_on(void *low, size_t bytes, unsigned number) {
    coroutine_number = number;
    getcontext(&coroutine);
    coroutine.uc_stack.ss_sp = low;
    coroutine.uc_stack.ss_size = bytes;
    coroutine.uc_link = &home;
    makecontext(&coroutine, run_coroutine, 0);
    swapcontext(&home, &coroutine);
}
static void *in_coroutine(void *number) {
    size_t bytes = 65536;
    char *low = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    run_on(low, bytes, (unsigned)(uintptr_t)number);
    munmap(low, bytes);
    return NULL;
}
static void *below_coroutine(void *number) {
    static char low[65536];
    volatile uint64_t word = locked[(uintptr_t)number] ^ KEY;
    run_on(low, sizeof low, 15);
    word = word + 1;
    return NULL;
}

static void test_first_thread(unsigned number) {
    thread_word = locked[number] ^ KEY;
    judge(find(number, look_in_threads) > 0, "a thread variable of the first thread");
    thread_word = 0;
    uint64_t *word = library_word();
    *word = locked[number] ^ KEY;
    judge(find(number, look_in_threads) > 0, "a loaded library's thread variable, first thread");
    *word = 0;
    volatile uint64_t local = locked[number] ^ KEY;
    judge(find(number, look_in_threads) > 0, "the stack of the thread that stops the world");
    local = local - local;
    judge(find(number, look_in_threads) == 0, "nothing is found that is nowhere");
}

/* ---- a namespace of its own ---- */

static void *elsewhere; /* the library in another namespace */

static uint64_t *other_library_word(void) {
    uint64_t *(*word)(void);
    *(void **)&word = dlsym(elsewhere, "gc_tls_word");
    return word();
}
static void *in_other_library_variable(void *number) {
    uint64_t *word = other_library_word();
    *word = locked[(uintptr_t)number] ^ KEY;
    spin();
    *word = 0;
    return NULL;
}
static void test_namespace(unsigned number) {
    elsewhere = dlmopen(LM_ID_NEWLM, library, RTLD_NOW);
    must(elsewhere != NULL, "dlmopen");
    uint64_t *data = dlsym(elsewhere, "gc_tls_data_word");
    must(data && data != dlsym(dlopen(library, RTLD_NOW), "gc_tls_data_word"), "dlsym");
    *data = locked[number] ^ KEY;
    judge(find(number, look_elsewhere) == 1, "the data segment of a library that dlmopen loaded");
    *data = 1;
    uint64_t *word = other_library_word();
    *word = locked[number] ^ KEY;
    judge(find(number, look_in_threads) > 0, "its thread variable, first thread");
    *word = 0;
    test_holder(in_other_library_variable, number, "its thread variable");
    dlclose(elsewhere);
    judge(find(number, look_elsewhere) == 0, "it is gone after dlclose");
}

/* ---- a table of thread-local blocks that changes ---- */

#ifdef __x86_64__
static union mal_tls_entry **table_place(void) {
    return (union mal_tls_entry **)(mal_thread_pointer() + 8);
}

/* Whoever gets the old table's memory fills it with what leads nowhere. */
static void fill_others(size_t bytes) {
    for (int i = 0; i < 1000; i++) {
        uint64_t *block = mallard_malloc(bytes);
        for (size_t word = 0; word < bytes / sizeof *block; word++)
            block[word] = 0x7fff00000000ull + word * 8192;
    }
}

/* The blocks and tables that matter are Mallard's, as where malloc is. */
struct scene {
    union mal_tls_entry *libcs, *entry;
    uint64_t *word, *block;
    size_t entries; /* with the one before the first */
};

static struct scene begin_scene(unsigned number) {
    struct scene scene = {.word = library_word(), .libcs = *table_place()};
    scene.entries = scene.libcs[-1].counter + 2;
    scene.entry = mallard_malloc(scene.entries * sizeof *scene.entry);
    memcpy(scene.entry, scene.libcs - 1, scene.entries * sizeof *scene.entry);
    scene.entry++;
    scene.block = mallard_calloc(1, 4096);
    for (size_t i = 1; i < scene.entries - 1; i++)
        if ((uintptr_t)scene.word - scene.entry[i].module.block < 4096)
            scene.entry[i].module.block = (uintptr_t)scene.block;
    scene.block[99] = locked[number] ^ KEY;
    *table_place() = scene.entry;
    return scene;
}

static void end_scene(struct scene *scene) {
    *table_place() = scene->libcs;
    scene->block[99] = 0;
}

/* As the loader does it: realloc, clear what is new, store the place. A stop comes before the last.
 */
static void *while_table_moves(void *number) {
    struct scene scene = begin_scene((unsigned)(uintptr_t)number);
    union mal_tls_entry *moved =
        mallard_realloc(scene.entry - 1, (scene.entries + 600) * sizeof *moved);
    must(moved && moved != scene.entry - 1, "a table that moves");
    fill_others(scene.entries * sizeof *moved);
    spin();
    end_scene(&scene);
    return NULL;
}

/* The counter says more than there is yet, and entries say anything. */
static void *while_table_grows(void *number) {
    struct scene scene = begin_scene((unsigned)(uintptr_t)number);
    size_t room = mallard_malloc_usable_size(scene.entry - 1) / sizeof *scene.entry;
    for (size_t i = scene.entries - 1; i + 1 < room; i++)
        scene.entry[i].module.block = 0x7fff00000008ull + i * 4096;
    scene.entry[-1].counter = 1000000;
    spin();
    end_scene(&scene);
    return NULL;
}
#endif

static volatile uint64_t data_word = 1;
static void test_elsewhere(unsigned number) {
    data_word = locked[number] ^ KEY;
    judge(find(number, look_elsewhere) == 1, "the data segment");
    data_word = 1;
    uint64_t *library_data = dlsym(dlopen(library, RTLD_NOW), "gc_tls_data_word");
    *library_data = locked[number] ^ KEY;
    judge(find(number, look_elsewhere) == 1, "a loaded library's data segment");
    *library_data = 1;

    uint64_t *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    page[5] = locked[number] ^ KEY;
    judge(find(number, look_elsewhere) == 0, "memory that nobody registered is no root");
    judge(mallard_gc_root_add(page, 4096) == 0 && find(number, look_elsewhere) == 1,
          "an explicit root");
    judge(mallard_gc_root_remove(page, 100) == -ENOENT && mallard_gc_root_remove(page, 4096) == 0 &&
              find(number, look_elsewhere) == 0,
          "an explicit root that was removed");
    judge(mallard_gc_stack_add(page, 4096) == 0 && find(number, look_in_threads) >= 1 &&
              mallard_gc_stack_remove(page) == 0 && mallard_gc_stack_remove(page) == -ENOENT,
          "a registered stack of a coroutine that sleeps");
    munmap(page, 4096);

    struct mallard_gc_handle *handle = mallard_gc_handle_new((void *)(locked[number] ^ KEY));
    judge(find(number, look_elsewhere) == 1 &&
              mallard_gc_handle_get(handle) == (void *)(locked[number] ^ KEY),
          "a handle");
    mallard_gc_handle_free(handle);
    judge(find(number, look_elsewhere) == 0, "a handle that was freed");
}

/* A result that nobody has joined yet. */
static void *give_result(void *number) {
    return (void *)(locked[(uintptr_t)number] ^ KEY);
}
static void test_result(unsigned number) {
    pthread_t thread;
    void *value = NULL;
    pthread_create(&thread, NULL, give_result, (void *)(uintptr_t)number);
    usleep(50000);
    unsigned before = find(number, look_elsewhere);
    pthread_join(thread, &value);
    bool same = value == (void *)(locked[number] ^ KEY);
    value = NULL;
    judge(before == 1 && same && find(number, look_elsewhere) == 0,
          "the result of a thread until it is joined");
}

int main(int argc, char **argv) {
    (void)argc;
    snprintf(library, sizeof library, "%s", argv[0]);
    char *slash = strrchr(library, '/');
    snprintf(slash ? slash + 1 : library, 32, "lib/gc_tls.so");
    for (unsigned i = 0; i < 16; i++)
        locked[i] = 0x7e57000000000000ull + 0x123456789ull * (i + 1);
    must(mal_gc_world_init() == 0, "mal_gc_world_init");
#ifdef __x86_64__
    test_holder(in_register, 0, "a register");
    test_holder(in_vector, 1, "a vector register");
    test_holder(in_red_zone, 2, "the red zone");
    test_holder(in_blocked_register, 3, "a callee-saved register of a thread in a blocking call");
#endif
    test_holder(in_thread_variable, 4, "a thread variable");
    test_holder(in_library_variable, 5, "a loaded library's thread variable");
    test_holder(below_signal_stack, 6, "the home stack of a thread on its signal stack");
    test_holder(in_coroutine, 7, "a coroutine's stack in a mapping");
    test_holder(below_coroutine, 8, "the home stack of a thread in a coroutine");
    test_first_thread(9);
    test_elsewhere(10);
    test_result(11);
    test_namespace(12);
#ifdef __x86_64__
    test_holder(while_table_moves, 13,
                "a library's thread variable while the loader moves its table");
    test_holder(while_table_grows, 14, "a library's thread variable while the loader extends it");
#endif
    return end_of_tests();
}
