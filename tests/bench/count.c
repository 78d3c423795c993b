/* SPDX-License-Identifier: Apache-2.0
 *
 * Counts the instructions that one operation executes inside the allocator.
 *
 *     count
 *
 * Run it with an allocator preloaded; one line per operation: "name instructions". The program
 * forks; the parent single-steps the child through each operation (PTRACE_SINGLESTEP) and counts
 * the steps whose address lies in the library that malloc comes from. So the figures depend on
 * neither clock nor load, and not on libc's memset, which differs from CPU to CPU; a repeated
 * string instruction counts once. Each operation is stepped through SHOTS times and the median
 * counts: a sample or a refill that falls into one of them does not matter.
 *
 * RESTARTABLE SEQUENCES under single steps: every step is a stop, every stop a preemption, so the
 * kernel would send the child to the abort handler again and again, and every operation would end
 * on the slow path (src/os/percpu.h, "single step"). The kernel decides by the word rseq_cs of the
 * child's struct rseq, when the child is about to run again. The parent clears that word at every
 * stop, hence the child executes exactly the instructions of an undisturbed pass. Nothing is lost
 * by it: the child is pinned to one CPU and alone there, since a thread that the allocator starts
 * is stopped at birth (PTRACE_O_TRACECLONE).
 *
 * Exit status 2: single steps are not allowed here (a container's filter), said on standard error.
 */
#include <dlfcn.h>
#include <link.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/rseq.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#if defined(__x86_64__)
#define STOP_HERE __asm__ volatile("int3" ::: "memory")
#define PROGRAM_COUNTER(registers) ((registers).rip)
#elif defined(__aarch64__)
#define STOP_HERE __asm__ volatile("brk #0" ::: "memory")
#define PROGRAM_COUNTER(registers) ((registers).pc)
#endif

enum { SHOTS = 41, WARM_UP = 2000, SIZES = 64, NT_PRSTATUS_SET = 1, STEPS_MOST = 1000000 };

/* ---- what is measured ---- */

static void *(*new_object)(size_t);
static void (*delete_object)(void *);
static void (*delete_sized)(void *, size_t);
static char *held;
static size_t mixed_bytes[SIZES];

static void pair_16(size_t turn) {
    (void)turn;
    free(malloc(16));
}
static void pair_1k(size_t turn) {
    (void)turn;
    free(malloc(1024));
}
static void pair_32k(size_t turn) {
    (void)turn;
    free(malloc(32768));
}
static void pair_64k(size_t turn) {
    (void)turn;
    free(malloc(65536));
}
static void pair_mixed(size_t turn) {
    free(malloc(mixed_bytes[turn % SIZES]));
}
static void calloc_64(size_t turn) {
    (void)turn;
    free(calloc(4, 16));
}
static void calloc_1k(size_t turn) {
    (void)turn;
    free(calloc(1, 1024));
}
static void realloc_in_place(size_t turn) {
    held = realloc(held, 100 + turn % 4);
}
static void realloc_moves(size_t turn) {
    held = realloc(held, turn % 2 ? 1000 : 100);
}
static void aligned_64(size_t turn) {
    (void)turn;
    free(aligned_alloc(64, 256));
}
static void new_delete(size_t turn) {
    (void)turn;
    delete_object(new_object(48));
}
static void new_delete_sized(size_t turn) {
    (void)turn;
    delete_sized(new_object(48), 48);
}
static void free_null(size_t turn) {
    (void)turn;
    free(NULL);
}

struct operation {
    const char *name;
    void (*run)(size_t turn);
};

static const struct operation operations[] = {
    {"malloc+free-16", pair_16},       {"malloc+free-1024", pair_1k},
    {"malloc+free-32768", pair_32k},   {"malloc+free-65536", pair_64k},
    {"malloc+free-mixed", pair_mixed}, {"calloc+free-64", calloc_64},
    {"calloc+free-1024", calloc_1k},   {"realloc-in-place", realloc_in_place},
    {"realloc-moves", realloc_moves},  {"aligned_alloc+free-64", aligned_64},
    {"new+delete-48", new_delete},     {"new+delete-48-sized", new_delete_sized},
    {"free-null", free_null},
};

enum { OPERATIONS = sizeof operations / sizeof *operations };

/* ---- the child ---- */

__attribute__((noinline)) static void end_mark(void) {
    __asm__ volatile("" ::: "memory");
}

static void find_operators(void) {
    *(void **)&new_object = dlsym(RTLD_DEFAULT, "_Znwm");
    *(void **)&delete_object = dlsym(RTLD_DEFAULT, "_ZdlPv");
    *(void **)&delete_sized = dlsym(RTLD_DEFAULT, "_ZdlPvm");
}

/* The operators exist where the allocator or libstdc++ brings them. */
static int is_there(const struct operation *operation) {
    if (operation->run == new_delete)
        return new_object && delete_object;
    return operation->run != new_delete_sized || (new_object && delete_sized);
}

static void child(void) {
    ptrace(PTRACE_TRACEME, 0, NULL, NULL);
    raise(SIGSTOP);
    for (int i = 0; i < OPERATIONS; i++) {
        if (!is_there(&operations[i]))
            continue;
        for (size_t turn = 0; turn < WARM_UP; turn++)
            operations[i].run(turn);
        for (size_t shot = 0; shot < SHOTS; shot++) {
            STOP_HERE;
            operations[i].run(shot);
            end_mark();
        }
    }
    _exit(0);
}

/* ---- the parent ---- */

struct range {
    uintptr_t start, end;
};

static int find_code(struct dl_phdr_info *info, size_t bytes, void *wanted) {
    struct range *range = wanted;
    (void)bytes;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *part = &info->dlpi_phdr[i];
        uintptr_t start = info->dlpi_addr + part->p_vaddr;
        if (part->p_type == PT_LOAD && part->p_flags & PF_X && range->start >= start &&
            range->start < start + part->p_memsz) {
            *range = (struct range){start, start + part->p_memsz};
            return 1;
        }
    }
    return 0;
}

static void give_up(const char *what) {
    perror(what);
    exit(2);
}

/* Lets the child go on as `request` says; returns the signal that stopped it. */
static int advance(pid_t pid, int request) {
    int status;
    do {
        if (ptrace(request, pid, NULL, NULL) != 0 || waitpid(pid, &status, 0) != pid)
            give_up("ptrace");
    } while (status >> 16 == PTRACE_EVENT_CLONE);
    if (WIFSIGNALED(status)) {
        fprintf(stderr, "count: the child was ended by signal %d\n", WTERMSIG(status));
        exit(1);
    }
    return WIFSTOPPED(status) ? WSTOPSIG(status) : -1;
}

static uintptr_t program_counter(pid_t pid) {
    struct user_regs_struct registers;
    struct iovec vector = {&registers, sizeof registers};
    if (ptrace(PTRACE_GETREGSET, pid, (void *)NT_PRSTATUS_SET, &vector) != 0)
        give_up("ptrace");
    return PROGRAM_COUNTER(registers);
}

static void forget_sequence(pid_t pid) {
    char *area = (char *)__builtin_thread_pointer() + __rseq_offset;
    if (__rseq_size)
        ptrace(PTRACE_POKEDATA, pid, area + offsetof(struct rseq, rseq_cs), NULL);
}

#if defined(__aarch64__)
static void skip_stop(pid_t pid) {
    struct user_regs_struct registers;
    struct iovec vector = {&registers, sizeof registers};
    ptrace(PTRACE_GETREGSET, pid, (void *)NT_PRSTATUS_SET, &vector);
    registers.pc += 4; /* a brk, unlike an int3, is not behind the program counter */
    ptrace(PTRACE_SETREGSET, pid, (void *)NT_PRSTATUS_SET, &vector);
}
#else
static void skip_stop(pid_t pid) {
    (void)pid;
}
#endif

/* From the stop before an operation to its end. */
static size_t count_steps(pid_t pid, const struct range *code) {
    size_t inside = 0;
    uintptr_t last = 0;
    skip_stop(pid);
    for (size_t step = 0; step < STEPS_MOST; step++) {
        advance(pid, PTRACE_SINGLESTEP);
        forget_sequence(pid);
        uintptr_t at = program_counter(pid);
        if (at == (uintptr_t)end_mark)
            return inside;
        inside += at != last && at >= code->start && at < code->end;
        last = at;
    }
    fprintf(stderr, "count: no end after %d steps\n", STEPS_MOST);
    exit(1);
}

static int by_value(const void *a, const void *b) {
    size_t left = *(const size_t *)a, right = *(const size_t *)b;
    return (left > right) - (left < right);
}

static void pin(void) {
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(sched_getcpu(), &one);
    sched_setaffinity(0, sizeof one, &one);
}

static void measure(pid_t pid, const struct operation *operation, const struct range *code) {
    size_t count[SHOTS];
    for (int shot = 0; shot < SHOTS; shot++) {
        if (advance(pid, PTRACE_CONT) != SIGTRAP) {
            fprintf(stderr, "count: the child does not come to %s\n", operation->name);
            exit(1);
        }
        count[shot] = count_steps(pid, code);
    }
    qsort(count, SHOTS, sizeof count[0], by_value);
    printf("%s %zu\n", operation->name, count[SHOTS / 2]);
}

int main(void) {
    struct range code = {(uintptr_t)dlsym(RTLD_DEFAULT, "malloc"), 0};
    if (!dl_iterate_phdr(find_code, &code))
        return 1;
    for (size_t i = 0; i < SIZES; i++)
        mixed_bytes[i] = 16 + (i * 2654435761u >> 7) % 2000;
    find_operators();
    pin();
    pid_t pid = fork();
    if (pid == 0)
        child();
    int status;
    if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFSTOPPED(status))
        give_up("count");
    ptrace(PTRACE_SETOPTIONS, pid, NULL, PTRACE_O_TRACECLONE | PTRACE_O_EXITKILL);
    for (int i = 0; i < OPERATIONS; i++)
        if (is_there(&operations[i]))
            measure(pid, &operations[i], &code);
    kill(pid, SIGKILL);
    return 0;
}
