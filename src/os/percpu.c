/* SPDX-License-Identifier: Apache-2.0
 *
 * Setting up per-CPU access: which thread area to read, how many CPUs there may be.
 *
 * libc registers one struct rseq per thread and publishes where it lies; Mallard borrows it. The
 * kernel clears the rseq_cs field when it restarts a sequence, and ignores it when the thread is
 * outside the range it names, so several users in one process do not disturb each other.
 *
 * The sequences for several objects follow the proof in the header: they write dead storage above
 * top, or private memory, and commit by one store of the header.
 *
 * In lock mode the offset names a thread variable of ours that looks like the area of a thread the
 * kernel never registered: CPU -1 for ever.
 *
 * SYNCHRONIZATION: what is set up is constant before a second thread; the sequences, see the
 * header.
 */
#include "os/percpu.h"

#include "base/atomic.h"
#include "os/kernel.h"

#include <errno.h>
#include <sched.h>
#include <sys/rseq.h>
#include <sys/syscall.h>
#include <unistd.h>

#define POP_SHIFT 16 /* pops in their place of the header */

_Static_assert(1ull << POP_SHIFT == MAL_SLAB_POP_UNIT, "a pop counts one unit");

#define CPU_MASK_BYTES (MAL_PERCPU_CPUS_MAX / 8)

char *mal_percpu_slabs;
intptr_t mal_percpu_area_offset;
MAL_THREAD uint8_t mal_percpu_aborts;

static unsigned simulated_cpus;               /* 0: none are; constant after init */
static int (*which_cpu)(void) = sched_getcpu; /* constant after init */
static unsigned threads_dealt;                /* relaxed atomic */
static MAL_THREAD unsigned simulated_place;   /* the thread's number, from 1; 0: not dealt yet */

static MAL_THREAD struct rseq unregistered = {.cpu_id = (uint32_t)RSEQ_CPU_ID_UNINITIALIZED};

/* sched_getaffinity returns the size of the kernel's own CPU masks: an upper bound that needs
 * neither /sys nor /proc and cannot change while the kernel runs. */
unsigned mal_percpu_possible_cpus(void) {
    if (simulated_cpus)
        return simulated_cpus;
    static unsigned long mask[CPU_MASK_BYTES / sizeof(unsigned long)];
    long bytes = mal_syscall(SYS_sched_getaffinity, 0, sizeof mask, mask);
    return bytes > 0 ? (unsigned)bytes * 8 : CPU_MASK_BYTES * 8;
}

static const struct rseq *libc_area(void) {
    const void *area = (char *)__builtin_thread_pointer() + __rseq_offset;
    return area;
}

bool mal_percpu_have_rseq(void) {
    return simulated_cpus == 0 && __rseq_size != 0 &&
           (int32_t)mal_load_relaxed(&libc_area()->cpu_id) >= 0;
}

static intptr_t unregistered_offset(void) {
    return (char *)&unregistered - (char *)__builtin_thread_pointer();
}

void mal_percpu_init(char *slabs, enum mal_percpu_mode mode) {
    mal_percpu_slabs = slabs;
    mal_percpu_area_offset = mode == MAL_PERCPU_RSEQ ? __rseq_offset : unregistered_offset();
}

int mal_percpu_current(void) {
    const void *address = (char *)__builtin_thread_pointer() + mal_percpu_area_offset;
    const struct rseq *area = address;
    return (int32_t)mal_load_relaxed(&area->cpu_id);
}

static int simulated_cpu(void) {
    if (simulated_place == 0)
        simulated_place = mal_add_relaxed(&threads_dealt, 1u) + 1;
    return (int)((simulated_place - 1) % simulated_cpus);
}

void mal_percpu_simulate(unsigned cpus) {
    simulated_cpus = cpus;
    which_cpu = simulated_cpu;
}

/* The call may be refused, and free must not say so. */
unsigned mal_percpu_ask_kernel(unsigned cpus) {
    int saved_errno = errno;
    int cpu = which_cpu();
    errno = saved_errno;
    return cpu < 0 ? 0 : (unsigned)cpu % cpus;
}

#if defined(__x86_64__)

bool mal_percpu_push_many(size_t class, void *const *objects, size_t count) {
    uint64_t slab, place, header, top, left;
    __asm__ goto volatile(MAL_RSEQ_BEGIN "movzwl %c[limits](%[slab], %[class], 2), %k[left]\n\t"
                                         "leaq (%[slab], %[class], 8), %[place]\n\t"
                                         "movq (%[place]), %[header]\n\t"
                                         "movzwl %w[header], %k[top]\n\t"
                                         "subq %[count], %[left]\n\t"
                                         "cmpq %[top], %[left]\n\t"
                                         "jl %l[full]\n\t"
                                         "leaq (%[slab], %[top], 8), %[slab]\n\t"
                                         "movq %[count], %[left]\n"
                                         "5:\n\t"
                                         "movq -8(%[objects], %[left], 8), %[top]\n\t"
                                         "addq $8, %[slab]\n\t"
                                         "movq %[top], (%[slab])\n\t"
                                         "decq %[left]\n\t"
                                         "jnz 5b\n\t"
                                         "addq %[count], %[header]\n\t"
                                         "movq %[header], (%[place])\n" MAL_RSEQ_END("full")
                          : [slab] "=&r"(slab), [place] "=&r"(place), [header] "=&r"(header),
                            [top] "=&r"(top), [left] "=&r"(left)
                          : [area] "m"(mal_percpu_area_offset), [slabs] "m"(mal_percpu_slabs),
                            [class] "r"(class), [objects] "r"(objects), [count] "r"(count),
                            [shift] "i"(MAL_SLAB_SHIFT), [limits] "i"(MAL_SLAB_LIMIT_OFFSET)
                          : "memory", "cc"
                          : full);
    return true;
full:
    return false;
}

size_t mal_percpu_pop_many(size_t class, uint64_t bottom, void **ret_objects, size_t most) {
    uint64_t slab, place, header, count, at, object;
    __asm__ goto volatile(
        MAL_RSEQ_BEGIN "leaq (%[slab], %[class], 8), %[place]\n\t"
                       "movq (%[place]), %[header]\n\t"
                       "movzwl %w[header], %k[at]\n\t"
                       "leaq (%[slab], %[at], 8), %[slab]\n\t"
                       "movq %[at], %[count]\n\t"
                       "subq %[bottom], %[count]\n\t"
                       "jle %l[empty]\n\t"
                       "cmpq %[most], %[count]\n\t"
                       "cmova %[most], %[count]\n\t"
                       "xorl %k[at], %k[at]\n"
                       "5:\n\t"
                       "movq (%[slab]), %[object]\n\t"
                       "subq $8, %[slab]\n\t"
                       "movq %[object], (%[objects], %[at], 8)\n\t"
                       "incq %[at]\n\t"
                       "cmpq %[count], %[at]\n\t"
                       "jb 5b\n\t"
                       "shlq %[pop_shift], %[at]\n\t"
                       "subq %[count], %[header]\n\t"
                       "addq %[at], %[header]\n\t"
                       "movq %[header], (%[place])\n" MAL_RSEQ_END("empty")
        : [slab] "=&r"(slab), [place] "=&r"(place), [header] "=&r"(header), [count] "=&r"(count),
          [at] "=&r"(at), [object] "=&r"(object)
        : [area] "m"(mal_percpu_area_offset), [slabs] "m"(mal_percpu_slabs), [class] "r"(class),
          [objects] "r"(ret_objects), [bottom] "r"(bottom), [most] "r"(most),
          [shift] "i"(MAL_SLAB_SHIFT), [pop_shift] "i"(POP_SHIFT)
        : "memory", "cc"
        : empty);
    return count;
empty:
    return (size_t)mal_opaque_null();
}

#elif defined(__aarch64__)

bool mal_percpu_push_many(size_t class, void *const *objects, size_t count) {
    uint64_t slab, header, top, at, object;
    char *area = (char *)__builtin_thread_pointer() + mal_percpu_area_offset;
    __asm__ goto volatile(MAL_RSEQ_BEGIN
                          "add %[at], %[slab], %[limits]\n\t"
                          "add %[at], %[at], %[class], lsl #1\n\t"
                          "ldarh %w[at], [%[at]]\n\t"
                          "ldr %[header], [%[slab], %[class], lsl #3]\n\t"
                          "and %[top], %[header], #0xffff\n\t"
                          "sub %[at], %[at], %[count]\n\t"
                          "cmp %[at], %[top]\n\t"
                          "b.lt %l[full]\n\t"
                          "add %[top], %[slab], %[top], lsl #3\n\t"
                          "mov %[at], %[end]\n"
                          "5:\n\t"
                          "ldr %[object], [%[at], #-8]!\n\t"
                          "str %[object], [%[top], #8]!\n\t"
                          "cmp %[at], %[objects]\n\t"
                          "b.hi 5b\n\t"
                          "add %[header], %[header], %[count]\n\t"
                          "str %[header], [%[slab], %[class], lsl #3]\n" MAL_RSEQ_END("full")
                          : [slab] "=&r"(slab), [header] "=&r"(header), [top] "=&r"(top),
                            [at] "=&r"(at), [object] "=&r"(object)
                          : [area] "r"(area), [slabs] "r"(mal_percpu_slabs), [class] "r"(class),
                            [objects] "r"(objects), [end] "r"(objects + count), [count] "r"(count),
                            [shift] "i"(MAL_SLAB_SHIFT), [limits] "i"(MAL_SLAB_LIMIT_OFFSET)
                          : "memory", "cc"
                          : full);
    return true;
full:
    return false;
}

size_t mal_percpu_pop_many(size_t class, uint64_t bottom, void **ret_objects, size_t most) {
    uint64_t slab, header, count, at, object, end, out;
    char *area = (char *)__builtin_thread_pointer() + mal_percpu_area_offset;
    __asm__ goto volatile(
        MAL_RSEQ_BEGIN "ldr %[header], [%[slab], %[class], lsl #3]\n\t"
                       "and %[at], %[header], #0xffff\n\t"
                       "subs %[count], %[at], %[bottom]\n\t"
                       "b.le %l[empty]\n\t"
                       "cmp %[count], %[most]\n\t"
                       "csel %[count], %[count], %[most], lo\n\t"
                       "add %[at], %[slab], %[at], lsl #3\n\t"
                       "add %[header], %[header], %[count], lsl %[pop_shift]\n\t"
                       "sub %[header], %[header], %[count]\n\t"
                       "mov %[out], %[objects]\n\t"
                       "add %[end], %[objects], %[count], lsl #3\n"
                       "5:\n\t"
                       "ldr %[object], [%[at]], #-8\n\t"
                       "str %[object], [%[out]], #8\n\t"
                       "cmp %[out], %[end]\n\t"
                       "b.lo 5b\n\t"
                       "str %[header], [%[slab], %[class], lsl #3]\n" MAL_RSEQ_END("empty")
        : [slab] "=&r"(slab), [header] "=&r"(header), [count] "=&r"(count), [at] "=&r"(at),
          [object] "=&r"(object), [end] "=&r"(end), [out] "=&r"(out)
        : [area] "r"(area), [slabs] "r"(mal_percpu_slabs), [class] "r"(class), [bottom] "r"(bottom),
          [objects] "r"(ret_objects), [most] "r"(most), [shift] "i"(MAL_SLAB_SHIFT),
          [pop_shift] "i"(POP_SHIFT)
        : "memory", "cc"
        : empty);
    return count;
empty:
    return (size_t)mal_opaque_null();
}

#endif
