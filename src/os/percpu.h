/* SPDX-License-Identifier: Apache-2.0
 *
 * One slab of stacks per CPU, pushed and popped without locks or atomics by restartable sequences.
 *
 * A slab is MAL_SLAB_BYTES of zero pages, one per CPU, laid out as words:
 *
 *     header[classes]    pops << 16 | top      top: word index of the stack's top slot
 *     limit[classes]     16 bits each          highest value top may take
 *     ...                lock, budget          see cache/cache_private.h
 *     slots              per class: one word that is always 0, then the objects
 *
 * A pop that reads the zero word knows that the stack is empty; a push compares top with limit. A
 * slab of zero pages is valid as it is: top 0 names header[0], which stays 0, so every pop finds
 * "empty", and every push finds top >= limit. The slow path then sets the slab up, perhaps from
 * another CPU: it stores the headers first and the limits after them (release), and a push loads
 * its limit before its header (acquire), so whoever sees a limit sees the header that belongs to
 * it.
 *
 * WHY ONE STORE IS ENOUGH. The kernel restarts a thread inside [start, post-commit) of a
 * registered sequence at its abort handler whenever it was preempted, migrated or got a signal.
 *   pop:   reads header, slot; the last instruction stores header - 1 + (1 << 16).
 *   push:  reads header, limit; fills the free slot above top; the last instruction stores
 *          header + 1.
 * Until the last instruction nothing that anyone reads has changed: the slot above top is dead
 * storage. If the thread reaches its last instruction, no other thread ran on this CPU since it
 * read the header, so the store cannot lose another one's update; and once a slab is set up only
 * this CPU's threads write its headers. Hence each operation happens entirely or not at all. The
 * pop counter lives in the same word, so it counts exactly the pops that happened: exact statistics
 * cost nothing. It has 48 bits, and what it carries out of them is lost: after 2^48 pops of one
 * class on one CPU, 65 days at 50 million a second, the class's mallocs and frees fall by as many,
 * and what is published of them, which never goes back (front/stats.c), stands still until they
 * have caught up. No operation minds: top is not touched.
 *
 * PROOF BY CASES. L is an operation's last instruction; before it nothing has happened, after it
 * everything has, and the kernel never lets a thread arrive at L from before an interruption.
 *   signal
 *       The kernel restarts before it builds the handler's frame, so a handler that
 *       allocates finds whole stacks, and what it interrupted begins anew afterwards.
 *       A handler that leaves by longjmp, or ends the thread, leaves an operation that
 *       never was. errno and the slow path are the caller's affair, as ever.
 *   preemption
 *       Whoever ran meanwhile on this CPU may have changed the header; L is not
 *       reached with the old one. It does not matter how many threads share a CPU.
 *   migration
 *       The new CPU's number is in the area before the thread runs there, and the
 *       sequence begins by reading it: base and header belong to one CPU. Two threads
 *       of different CPUs never write one header.
 *   affinity
 *       sched_setaffinity, a cpuset that changes: a migration. An operation that is
 *       moved again before each L gives way, like one that is single-stepped.
 *   fork
 *       The thread that forks is in no sequence. Others may be, and do not exist in
 *       the child. What a child gets of a CPU's memory is what its stores had made at
 *       one instant of that CPU: a store to a page that was taken away for copying
 *       waits until the fork is over, or goes to both through an old translation; once
 *       one has waited, all later ones are after the fork. So no later store of that
 *       CPU is seen where an earlier is not. A push whose L is seen has its slot seen;
 *       one whose L is not is dead storage. What others had popped is lost to the
 *       child, as their stacks are. A signal handler that forks is "signal", then
 *       this.
 *   vfork
 *       The child shares this memory and this area, but the kernel watches over
 *       neither. It says at once that it has no CPU, and fails on the slab that stays
 *       zero; its parent takes the number back (os/vfork.c); for clone
 *       with those flags, front/clone.c. A child of a raw system call of that kind is
 *       a known limit (README.md).
 *   a thread's end
 *       It ends between two instructions of its own: outside, or by a handler (above),
 *       or with its process. The area outlives its last destructor, so they may free.
 *   exec, kill
 *       Nothing of the slabs outlives the process.
 *   single step
 *       Every step is an interruption: the thread never reaches L, nor does one that
 *       is watched instruction by instruction. The abort handler counts, per thread,
 *       and every eighth abort takes the operation's way out: "empty" or "full" are
 *       always allowed, and the slow path below needs no sequence to succeed (the
 *       central list serves one object, or takes one). So an operation ends after at
 *       most eight aborts, however it is disturbed; undisturbed ones pay nothing,
 *       since the handler is no part of them.
 *   CPU unplugged
 *       Its threads are moved: migration. No thread reads its number any more, so its
 *       slab rests: what it caches, at most its budget (cache/percpu_cache.h), stays
 *       until the CPU comes back, or for ever; it is counted as cached meanwhile.
 *   CPU number beyond the slabs
 *       mal_percpu_possible_cpus is the size of the kernel's own masks, which no
 *       number reaches while it runs. A process that is restored from a checkpoint on
 *       a larger machine must run with locked caches, which take numbers modulo slabs.
 *   lock mode
 *       No sequence: every operation here fails on the slab that stays zero, and the
 *       slow path works on the slab of the CPU it was on a moment ago, under that
 *       slab's lock. Migration between the two costs locality, nothing else. Fork
 *       takes the locks.
 *   rseq used by others
 *       The area has one rseq_cs. Another library's sequence ends before it calls
 *       malloc; a handler's is "signal". A stale rseq_cs names code that is never
 *       unmapped (the library is linked with -z nodelete), and matters only within its
 *       range.
 *
 * A thread that is not registered (old kernel, valgrind, qemu, tunable off, lock mode) reads CPU -1
 * and meets the slab before the first one, which stays zero for ever: every operation fails there
 * and takes the slow path. Lock mode is therefore no extra test on the fast path.
 *
 * Addresses are computed into one register before use: see MAL_ONE_REGISTER.
 */
#ifndef MAL_OS_PERCPU_H
#define MAL_OS_PERCPU_H

#include "base/attr.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MAL_SLAB_SHIFT 19
#define MAL_SLAB_BYTES (1u << MAL_SLAB_SHIFT)
#define MAL_SLAB_CLASSES 128
#define MAL_SLAB_LIMIT_OFFSET (MAL_SLAB_CLASSES * 8)
#define MAL_SLAB_POP_UNIT (1ull << 16)
#define MAL_SLAB_TOP_MASK 0xffffull

#define MAL_PERCPU_CPUS_MAX 8192u /* the kernel's own limit */

enum mal_percpu_mode { MAL_PERCPU_RSEQ, MAL_PERCPU_LOCK };

/* Both are written once by mal_percpu_init, before any thread uses them. */
extern MAL_HIDDEN char *mal_percpu_slabs; /* slab of CPU 0; slab of CPU -1 lies before it */
extern MAL_HIDDEN intptr_t mal_percpu_area_offset; /* of struct rseq from the thread pointer */

/* Sequences of this thread that the kernel restarted, times MAL_RSEQ_ABORT_STEP. Only abort
 * handlers touch it; where it wraps round, the operation fails: case "single step" above. */
#define MAL_RSEQ_ABORT_STEP "32"
extern MAL_HIDDEN MAL_THREAD uint8_t mal_percpu_aborts;

/* How many CPUs this kernel can ever have, an upper bound of every CPU number. At least 1. */
unsigned mal_percpu_possible_cpus(void);

/* For the memory bound of machines that are not at hand: from here on there are `cpus` of them, and
 * threads are dealt out to them in turn, each for its life. No thread counts as registered. Once,
 * before anything below is asked. */
void mal_percpu_simulate(unsigned cpus);

/* Whether libc registered restartable sequences for the calling thread. */
bool mal_percpu_have_rseq(void);

void mal_percpu_init(char *slabs, enum mal_percpu_mode mode);

/* The CPU as the fast path sees it: -1 where restartable sequences are not in use. */
int mal_percpu_current(void);

/* For a call whose child runs on this thread's area while this thread sleeps (os/vfork.c): the area
 * says "no CPU", in parent and child; what it said before. The parent takes it back after the call.
 */
int32_t mal_percpu_hide(void);
void mal_percpu_show(int32_t before);

/* Several objects in one sequence. push_many pushes all of them, the first on top, or none where
 * they do not fit below the limit; pop_many takes up to `most` from the top, which comes first, and
 * returns how many. So what goes in comes out in the same order. `bottom` is the word index of the
 * class's zero word. At least one is asked. */
bool mal_percpu_push_many(size_t class, void *const *objects, size_t count);
size_t mal_percpu_pop_many(size_t class, uint64_t bottom, void **ret_objects, size_t most);

/* The CPU as the kernel tells it, for lock mode; below `cpus`. 0 where it does not. */
unsigned mal_percpu_ask_kernel(unsigned cpus);

/* What a sequence with a result returns where it gave way. GCC 12 takes an output of asm goto for
 * the constant of another path, and returns what the last aborted try left in the register; it
 * cannot do so with a value it does not know. */
MAL_FAST void *mal_opaque_null(void) {
    void *null = NULL;
    __asm__ volatile("" : "+r"(null));
    return null;
}

#if defined(__x86_64__)

/* Leaves the slab's address in `slab`; `place` is clobbered. */
#define MAL_RSEQ_BEGIN                                                                             \
    ".pushsection __rseq_cs, \"aw\"\n\t"                                                           \
    ".balign 32\n"                                                                                 \
    "3:\n\t"                                                                                       \
    ".long 0, 0\n\t"                                                                               \
    ".quad 1f, (2f - 1f), 4f\n\t"                                                                  \
    ".popsection\n"                                                                                \
    "0:\n\t"                                                                                       \
    "leaq 3b(%%rip), %[place]\n\t"                                                                 \
    "movq %[area], %[slab]\n\t"                                                                    \
    "movq %[place], %%fs:8(%[slab])\n"                                                             \
    "1:\n\t"                                                                                       \
    "movslq %%fs:4(%[slab]), %[slab]\n\t"                                                          \
    "shlq %[shift], %[slab]\n\t"                                                                   \
    "addq %[slabs], %[slab]\n\t"

/* The four bytes before the abort handler must be libc's signature. `way_out` is the label of the
 * operation's failure, taken instead of the next try whenever mal_percpu_aborts wraps round. */
#define MAL_RSEQ_END(way_out)                                                                      \
    "2:\n\t"                                                                                       \
    ".pushsection __rseq_failure, \"ax\"\n\t"                                                      \
    ".byte 0x0f, 0xb9, 0x3d\n\t"                                                                   \
    ".long 0x53053053\n"                                                                           \
    "4:\n\t"                                                                                       \
    "movq mal_percpu_aborts@gottpoff(%%rip), %[slab]\n\t"                                          \
    "addb $" MAL_RSEQ_ABORT_STEP ", %%fs:(%[slab])\n\t"                                            \
    "jnc 0b\n\t"                                                                                   \
    "jmp %l[" way_out "]\n\t"                                                                      \
    ".popsection\n\t"

/* NULL: the stack was empty. */
MAL_FAST void *mal_percpu_pop(size_t class) {
    void *object;
    uint64_t slab, place, header;
    __asm__ goto volatile(
        MAL_RSEQ_BEGIN "leaq (%[slab], %[class], 8), %[place]\n\t"
                       "movq (%[place]), %[header]\n\t"
                       "movzwl %w[header], %k[object]\n\t"
                       "leaq (%[slab], %[object], 8), %[slab]\n\t"
                       "movq (%[slab]), %[object]\n\t"
                       "testq %[object], %[object]\n\t"
                       "jz %l[empty]\n\t"
                       "addq %[step], %[header]\n\t"
                       "movq %[header], (%[place])\n" MAL_RSEQ_END("empty")
        : [object] "=&r"(object), [slab] "=&r"(slab), [place] "=&r"(place), [header] "=&r"(header)
        : [area] "m"(mal_percpu_area_offset), [slabs] "m"(mal_percpu_slabs), [class] "r"(class),
          [shift] "i"(MAL_SLAB_SHIFT), [step] "i"(MAL_SLAB_POP_UNIT - 1)
        : "memory", "cc"
        : empty);
    if (!object)
        __builtin_unreachable(); /* spares the caller's own test */
    return object;
empty:
    return mal_opaque_null();
}

MAL_FAST bool mal_percpu_push(size_t class, void *object) {
    uint64_t slab, place, header, top;
    __asm__ goto volatile(
        MAL_RSEQ_BEGIN "movzwl %c[limits](%[slab], %[class], 2), %k[top]\n\t"
                       "leaq (%[slab], %[class], 8), %[place]\n\t"
                       "movq (%[place]), %[header]\n\t"
                       "cmpw %w[top], %w[header]\n\t"
                       "jae %l[full]\n\t"
                       "movzwl %w[header], %k[top]\n\t"
                       "leaq (%[slab], %[top], 8), %[slab]\n\t"
                       "movq %[object], 8(%[slab])\n\t"
                       "incq %[header]\n\t"
                       "movq %[header], (%[place])\n" MAL_RSEQ_END("full")
        : [slab] "=&r"(slab), [header] "=&r"(header), [place] "=&r"(place), [top] "=&r"(top)
        : [area] "m"(mal_percpu_area_offset), [slabs] "m"(mal_percpu_slabs), [class] "r"(class),
          [object] "r"(object), [shift] "i"(MAL_SLAB_SHIFT), [limits] "i"(MAL_SLAB_LIMIT_OFFSET)
        : "memory", "cc"
        : full);
    return true;
full:
    return false;
}

#elif defined(__aarch64__)

#define MAL_RSEQ_BEGIN                                                                             \
    ".pushsection __rseq_cs, \"aw\"\n\t"                                                           \
    ".balign 32\n"                                                                                 \
    "3:\n\t"                                                                                       \
    ".long 0, 0\n\t"                                                                               \
    ".quad 1f, (2f - 1f), 4f\n\t"                                                                  \
    ".popsection\n"                                                                                \
    "0:\n\t"                                                                                       \
    "adrp %[slab], 3b\n\t"                                                                         \
    "add %[slab], %[slab], :lo12:3b\n\t"                                                           \
    "str %[slab], [%[area], #8]\n"                                                                 \
    "1:\n\t"                                                                                       \
    "ldrsw %[slab], [%[area], #4]\n\t"                                                             \
    "add %[slab], %[slabs], %[slab], lsl %[shift]\n\t"

#define MAL_RSEQ_END(way_out)                                                                      \
    "2:\n\t"                                                                                       \
    ".pushsection __rseq_failure, \"ax\"\n\t"                                                      \
    ".inst 0xd428bc00\n"                                                                           \
    "4:\n\t"                                                                                       \
    "adrp %[slab], :gottprel:mal_percpu_aborts\n\t"                                                \
    "ldr %[slab], [%[slab], :gottprel_lo12:mal_percpu_aborts]\n\t"                                 \
    "mrs %[header], tpidr_el0\n\t"                                                                 \
    "add %[slab], %[slab], %[header]\n\t"                                                          \
    "ldrb %w[header], [%[slab]]\n\t"                                                               \
    "add %w[header], %w[header], #" MAL_RSEQ_ABORT_STEP "\n\t"                                     \
    "strb %w[header], [%[slab]]\n\t"                                                               \
    "tst %w[header], #0xff\n\t"                                                                    \
    "b.ne 0b\n\t"                                                                                  \
    "b %l[" way_out "]\n\t"                                                                        \
    ".popsection\n\t"

MAL_FAST void *mal_percpu_pop(size_t class) {
    void *object;
    uint64_t slab, header;
    char *area = (char *)__builtin_thread_pointer() + mal_percpu_area_offset;
    __asm__ goto volatile(MAL_RSEQ_BEGIN
                          "ldr %[header], [%[slab], %[class], lsl #3]\n\t"
                          "and %[object], %[header], #0xffff\n\t"
                          "ldr %[object], [%[slab], %[object], lsl #3]\n\t"
                          "cbz %[object], %l[empty]\n\t"
                          "add %[header], %[header], #16, lsl #12\n\t"
                          "sub %[header], %[header], #1\n\t"
                          "str %[header], [%[slab], %[class], lsl #3]\n" MAL_RSEQ_END("empty")
                          : [object] "=&r"(object), [slab] "=&r"(slab), [header] "=&r"(header)
                          : [area] "r"(area), [slabs] "r"(mal_percpu_slabs), [class] "r"(class),
                            [shift] "i"(MAL_SLAB_SHIFT)
                          : "memory", "cc"
                          : empty);
    if (!object)
        __builtin_unreachable(); /* spares the caller's own test */
    return object;
empty:
    return mal_opaque_null();
}

MAL_FAST bool mal_percpu_push(size_t class, void *object) {
    uint64_t slab, header, top, limit;
    char *area = (char *)__builtin_thread_pointer() + mal_percpu_area_offset;
    __asm__ goto volatile(
        MAL_RSEQ_BEGIN "add %[limit], %[slab], %[limits]\n\t"
                       "add %[limit], %[limit], %[class], lsl #1\n\t"
                       "ldarh %w[limit], [%[limit]]\n\t"
                       "ldr %[header], [%[slab], %[class], lsl #3]\n\t"
                       "and %[top], %[header], #0xffff\n\t"
                       "cmp %[top], %[limit]\n\t"
                       "b.hs %l[full]\n\t"
                       "add %[top], %[slab], %[top], lsl #3\n\t"
                       "str %[object], [%[top], #8]\n\t"
                       "add %[header], %[header], #1\n\t"
                       "str %[header], [%[slab], %[class], lsl #3]\n" MAL_RSEQ_END("full")
        : [slab] "=&r"(slab), [header] "=&r"(header), [top] "=&r"(top), [limit] "=&r"(limit)
        : [area] "r"(area), [slabs] "r"(mal_percpu_slabs), [class] "r"(class), [object] "r"(object),
          [shift] "i"(MAL_SLAB_SHIFT), [limits] "i"(MAL_SLAB_LIMIT_OFFSET)
        : "memory", "cc"
        : full);
    return true;
full:
    return false;
}

#else
#error "Mallard knows x86-64 and aarch64"
#endif

#endif
