/* SPDX-License-Identifier: Apache-2.0
 *
 * Setting up per-CPU access: which thread area to read, how many CPUs there may be.
 *
 * libc registers one struct rseq per thread and publishes where it lies; Mallard borrows it. The
 * kernel clears the rseq_cs field when it restarts a sequence, and ignores it when the thread is
 * outside the range it names, so several users in one process do not disturb each other.
 *
 * The sequences for several slots follow the proof in the header: they write dead storage above
 * top, or private memory, and commit by one store of the header.
 *
 * In lock mode the offset names a thread variable of ours that looks like the area of a thread the
 * kernel never registered: CPU -1 for ever.
 */
#include "os/percpu.h"

#include "base/atomic.h"

#include <errno.h>
#include <sched.h>
#include <sys/rseq.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Words popped, turned into pops in their place of the header: (words / 2) << 16. */
#define POP_SHIFT_OF_WORDS 15

#define CPU_MASK_BYTES 1024 /* the kernel's own limit is 8192 CPUs */

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
    int saved_errno = errno;
    long bytes = syscall(SYS_sched_getaffinity, 0, sizeof mask, mask);
    errno = saved_errno;
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

unsigned mal_percpu_ask_kernel(unsigned cpus) {
    int cpu = which_cpu();
    return cpu < 0 ? 0 : (unsigned)cpu % cpus;
}

#if defined(__x86_64__)

bool mal_percpu_push_many(size_t class, const struct mal_slot *slots, size_t count) {
    uint64_t slab, place, header, top, at;
    __asm__ goto volatile(
        MAL_RSEQ_BEGIN "movzwl %c[limits](%[slab], %[class], 2), %k[at]\n\t"
                       "leaq (%[slab], %[class], 8), %[place]\n\t"
                       "movq (%[place]), %[header]\n\t"
                       "movzwl %w[header], %k[top]\n\t"
                       "subq %[words], %[at]\n\t"
                       "cmpq %[top], %[at]\n\t"
                       "jl %l[full]\n\t"
                       "leaq 16(%[slab], %[top], 8), %[slab]\n\t"
                       "xorl %k[at], %k[at]\n"
                       "5:\n\t"
                       "movups (%[slots], %[at], 8), %%xmm0\n\t"
                       "movups %%xmm0, (%[slab], %[at], 8)\n\t"
                       "addq %[slot_words], %[at]\n\t"
                       "cmpq %[words], %[at]\n\t"
                       "jb 5b\n\t"
                       "addq %[words], %[header]\n\t"
                       "movq %[header], (%[place])\n" MAL_RSEQ_END("full")
        : [slab] "=&r"(slab), [place] "=&r"(place), [header] "=&r"(header), [top] "=&r"(top),
          [at] "=&r"(at)
        : [area] "m"(mal_percpu_area_offset), [slabs] "m"(mal_percpu_slabs), [class] "r"(class),
          [slots] "r"(slots), [words] "r"(count * MAL_SLOT_WORDS), [shift] "i"(MAL_SLAB_SHIFT),
          [limits] "i"(MAL_SLAB_LIMIT_OFFSET), [slot_words] "i"(MAL_SLOT_WORDS)
        : "memory", "cc", "xmm0"
        : full);
    return true;
full:
    return false;
}

size_t mal_percpu_pop_many(size_t class, uint64_t bottom, struct mal_slot *ret_slots, size_t most) {
    uint64_t slab, place, header, words, at;
    __asm__ goto volatile(MAL_RSEQ_BEGIN "leaq (%[slab], %[class], 8), %[place]\n\t"
                                         "movq (%[place]), %[header]\n\t"
                                         "movzwl %w[header], %k[at]\n\t"
                                         "movq %[at], %[words]\n\t"
                                         "subq %[bottom], %[words]\n\t"
                                         "jle %l[empty]\n\t"
                                         "cmpq %[wanted], %[words]\n\t"
                                         "cmova %[wanted], %[words]\n\t"
                                         "subq %[words], %[at]\n\t"
                                         "leaq 16(%[slab], %[at], 8), %[slab]\n\t"
                                         "xorl %k[at], %k[at]\n"
                                         "5:\n\t"
                                         "movups (%[slab], %[at], 8), %%xmm0\n\t"
                                         "movups %%xmm0, (%[slots], %[at], 8)\n\t"
                                         "addq %[slot_words], %[at]\n\t"
                                         "cmpq %[words], %[at]\n\t"
                                         "jb 5b\n\t"
                                         "shlq %[pop_shift], %[at]\n\t"
                                         "subq %[words], %[header]\n\t"
                                         "addq %[at], %[header]\n\t"
                                         "movq %[header], (%[place])\n" MAL_RSEQ_END("empty")
                          : [slab] "=&r"(slab), [place] "=&r"(place), [header] "=&r"(header),
                            [words] "=&r"(words), [at] "=&r"(at)
                          : [area] "m"(mal_percpu_area_offset), [slabs] "m"(mal_percpu_slabs),
                            [class] "r"(class), [slots] "r"(ret_slots), [bottom] "r"(bottom),
                            [wanted] "r"(most * MAL_SLOT_WORDS), [shift] "i"(MAL_SLAB_SHIFT),
                            [slot_words] "i"(MAL_SLOT_WORDS), [pop_shift] "i"(POP_SHIFT_OF_WORDS)
                          : "memory", "cc", "xmm0"
                          : empty);
    return words / MAL_SLOT_WORDS;
empty:
    return 0;
}

#elif defined(__aarch64__)

bool mal_percpu_push_many(size_t class, const struct mal_slot *slots, size_t count) {
    uint64_t slab, header, top, at, word, second;
    char *area = (char *)__builtin_thread_pointer() + mal_percpu_area_offset;
    __asm__ goto volatile(
        MAL_RSEQ_BEGIN "add %[at], %[slab], %[limits]\n\t"
                       "add %[at], %[at], %[class], lsl #1\n\t"
                       "ldarh %w[at], [%[at]]\n\t"
                       "ldr %[header], [%[slab], %[class], lsl #3]\n\t"
                       "and %[top], %[header], #0xffff\n\t"
                       "sub %[at], %[at], %[words]\n\t"
                       "cmp %[at], %[top]\n\t"
                       "b.lt %l[full]\n\t"
                       "add %[top], %[slab], %[top], lsl #3\n\t"
                       "mov %[at], %[slots]\n"
                       "5:\n\t"
                       "ldp %[word], %[second], [%[at]], #16\n\t"
                       "add %[top], %[top], #16\n\t"
                       "stp %[word], %[second], [%[top]]\n\t"
                       "cmp %[at], %[end]\n\t"
                       "b.lo 5b\n\t"
                       "add %[header], %[header], %[words]\n\t"
                       "str %[header], [%[slab], %[class], lsl #3]\n" MAL_RSEQ_END("full")
        : [slab] "=&r"(slab), [header] "=&r"(header), [top] "=&r"(top), [at] "=&r"(at),
          [word] "=&r"(word), [second] "=&r"(second)
        : [area] "r"(area), [slabs] "r"(mal_percpu_slabs), [class] "r"(class), [slots] "r"(slots),
          [end] "r"(slots + count), [words] "r"(count * MAL_SLOT_WORDS),
          [shift] "i"(MAL_SLAB_SHIFT), [limits] "i"(MAL_SLAB_LIMIT_OFFSET)
        : "memory", "cc"
        : full);
    return true;
full:
    return false;
}

size_t mal_percpu_pop_many(size_t class, uint64_t bottom, struct mal_slot *ret_slots, size_t most) {
    uint64_t slab, header, words, at, word, second, to, out;
    char *area = (char *)__builtin_thread_pointer() + mal_percpu_area_offset;
    __asm__ goto volatile(
        MAL_RSEQ_BEGIN "ldr %[header], [%[slab], %[class], lsl #3]\n\t"
                       "and %[at], %[header], #0xffff\n\t"
                       "subs %[words], %[at], %[bottom]\n\t"
                       "b.le %l[empty]\n\t"
                       "cmp %[words], %[wanted]\n\t"
                       "csel %[words], %[words], %[wanted], lo\n\t"
                       "sub %[at], %[at], %[words]\n\t"
                       "add %[at], %[slab], %[at], lsl #3\n\t"
                       "add %[header], %[header], %[words], lsl %[pop_shift]\n\t"
                       "sub %[header], %[header], %[words]\n\t"
                       "mov %[out], %[slots]\n\t"
                       "add %[to], %[slots], %[words], lsl #3\n"
                       "5:\n\t"
                       "add %[at], %[at], #16\n\t"
                       "ldp %[word], %[second], [%[at]]\n\t"
                       "stp %[word], %[second], [%[out]], #16\n\t"
                       "cmp %[out], %[to]\n\t"
                       "b.lo 5b\n\t"
                       "str %[header], [%[slab], %[class], lsl #3]\n" MAL_RSEQ_END("empty")
        : [slab] "=&r"(slab), [header] "=&r"(header), [words] "=&r"(words), [at] "=&r"(at),
          [word] "=&r"(word), [second] "=&r"(second), [to] "=&r"(to), [out] "=&r"(out)
        : [area] "r"(area), [slabs] "r"(mal_percpu_slabs), [class] "r"(class), [bottom] "r"(bottom),
          [slots] "r"(ret_slots), [wanted] "r"(most * MAL_SLOT_WORDS), [shift] "i"(MAL_SLAB_SHIFT),
          [pop_shift] "i"(POP_SHIFT_OF_WORDS)
        : "memory", "cc"
        : empty);
    return words / MAL_SLOT_WORDS;
empty:
    return 0;
}

#endif
